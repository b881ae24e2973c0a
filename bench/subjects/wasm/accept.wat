;; Accepts, sends five bytes, shuts down and closes, on WasmEdge's sockets: what the role "accept" of
;; ../c/server.c does, on 127.0.0.1, with one connection after the other.
;;
;;   wat2wasm accept.wat && wasmedge accept.wasm 8080
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_setsockopt"
    (func $set_option (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_bind" (func $bind (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_listen" (func $listen (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send"
    (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_shutdown" (func $shutdown (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (memory (export "memory") 1)
  ;; 0: the socket    4: {address, its length}     16: {buffer, its length}   32: the address
  ;; 40: the buffer   48: the connection           56: 1, for an option       68: sent
  ;; 1024: arguments
  (data (i32.const 4) "\20\00\00\00\04\00\00\00")
  (data (i32.const 16) "\28\00\00\00\05\00\00\00")
  (data (i32.const 32) "\7f\00\00\01")
  (data (i32.const 40) "hello")
  (data (i32.const 56) "\01\00\00\00")

  ;; Ends the program with the code, unless it is 0.
  (func $must (param $error i32)
    (if (local.get $error) (then (call $exit (local.get $error)))))

  ;; The number that is the first argument.
  (func $port (result i32) (local $at i32) (local $digit i32) (local $port i32)
    (call $must (call $args_sizes (i32.const 1024) (i32.const 1028)))
    (if (i32.ne (i32.load (i32.const 1024)) (i32.const 2)) (then (call $exit (i32.const 2))))
    (call $must (call $args (i32.const 1032) (i32.const 1056)))
    (local.set $at (i32.load (i32.const 1036)))
    (loop $digits
      (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
      (if (i32.lt_u (local.get $digit) (i32.const 10))
        (then
          (local.set $port
            (i32.add (i32.mul (local.get $port) (i32.const 10)) (local.get $digit)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $digits))))
    (local.get $port))

  (func (export "_start") (local $listener i32) (local $connection i32)
    (call $must (call $open (i32.const 1) (i32.const 2) (i32.const 0)))
    (local.set $listener (i32.load (i32.const 0)))
    ;; SO_REUSEADDR: connections of the last run may still be in TIME_WAIT.
    (call $must (call $set_option (local.get $listener) (i32.const 0) (i32.const 0) (i32.const 56)
                                  (i32.const 4)))
    (call $must (call $bind (local.get $listener) (i32.const 4) (call $port)))
    (call $must (call $listen (local.get $listener) (i32.const 4096)))
    (loop $connections
      (call $must (call $accept (local.get $listener) (i32.const 48)))
      (local.set $connection (i32.load (i32.const 48)))
      ;; The peer may be gone already; that is no reason to end.
      (drop (call $send (local.get $connection) (i32.const 16) (i32.const 1) (i32.const 0)
                        (i32.const 68)))
      (drop (call $shutdown (local.get $connection) (i32.const 2)))
      (drop (call $close (local.get $connection)))
      (br $connections))))
