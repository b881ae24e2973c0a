;; UDP echo on WasmEdge's sockets: what the role "udp" of ../c/server.c does, on 127.0.0.1.
;;
;;   wat2wasm udp.wat && wasmedge udp.wasm 8888
;;
;; The port that sock_recv_from gives is in network order, and the one that sock_send_to takes is
;; not.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_bind" (func $bind (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv_from"
    (func $recv_from (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send_to"
    (func $send_to (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  ;; 0: the socket    4: {address, its length}     16: {buffer, its length}   32: the address
  ;; 40: peer's {address, length}  48: the peer's address  56: its port  60: length  64: flags
  ;; 68: sent         1024: arguments              4096: the datagram
  (data (i32.const 4) "\20\00\00\00\04\00\00\00")
  (data (i32.const 32) "\7f\00\00\01")
  (data (i32.const 40) "\30\00\00\00\04\00\00\00")

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

  (func (export "_start") (local $socket i32) (local $port i32)
    (call $must (call $open (i32.const 1) (i32.const 1) (i32.const 0)))
    (local.set $socket (i32.load (i32.const 0)))
    (call $must (call $bind (local.get $socket) (i32.const 4) (call $port)))
    (i32.store (i32.const 16) (i32.const 4096))
    (loop $datagrams
      (i32.store (i32.const 20) (i32.const 65536))
      (call $must
        (call $recv_from (local.get $socket) (i32.const 16) (i32.const 1) (i32.const 40)
                         (i32.const 0) (i32.const 56) (i32.const 60) (i32.const 64)))
      (i32.store (i32.const 20) (i32.load (i32.const 60)))
      (local.set $port (i32.load16_u (i32.const 56)))
      (call $must
        (call $send_to (local.get $socket) (i32.const 16) (i32.const 1) (i32.const 40)
                       (i32.or (i32.shr_u (local.get $port) (i32.const 8))
                               (i32.and (i32.shl (local.get $port) (i32.const 8)) (i32.const 65280)))
                       (i32.const 0) (i32.const 68)))
      (br $datagrams))))
