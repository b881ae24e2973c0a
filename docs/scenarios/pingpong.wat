;; pingpong.lua by hand: each client sends one ping per second, and waits for its answer.
;;
;;   wat2wasm pingpong.wat && topspin load script pingpong.wasm --target 127.0.0.1:8888
;;
;; topspin.h has the types of all functions.
(module
  (import "topspin" "udp" (func $udp (param i32 i32 i32) (result i32)))
  (import "topspin" "every" (func $every (param i64)))
  (import "topspin" "turn" (func $turn (result i64)))
  (import "topspin" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "topspin" "recv" (func $recv (param i32 i32 i32 i32 i64) (result i32)))
  (import "topspin" "check" (func $check (param i32 i32 i32) (result i32)))
  (memory 1)
  (data (i32.const 0) "PING")
  (data (i32.const 16) "the answer has 4 bytes")
  (func (export "client") (param $id i32)
    (local $socket i32)
    (local.set $socket (call $udp (i32.const 0) (i32.const 0) (i32.const 0)))
    (call $every (i64.const 1000000000))
    (loop $turns
      (if (i64.ne (call $turn) (i64.const 0))
        (then
          (drop (call $send (local.get $socket) (i32.const 0) (i32.const 4)))
          (drop (call $check
            (i32.eq
              (call $recv (local.get $socket) (i32.const 64) (i32.const 64) (i32.const 0)
                          (i64.const 1000000000))
              (i32.const 4))
            (i32.const 16) (i32.const 22)))
          (br $turns))))))
