package main

import (
	"fmt"
	"log"
	"net/http"
	"sync/atomic"
)

const work = 100000
var dropEvery uint64 = 0

var requests, sum uint64

func answer(w http.ResponseWriter, r *http.Request) {
	local := uint64(0)
	for i := uint64(0); i < work; i++ {
		local = (local + i) % 1000003
	}
	atomic.AddUint64(&sum, local)
	n := atomic.AddUint64(&requests, 1)
	if dropEvery != 0 && n%dropEvery == 0 {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	fmt.Fprintf(w, "hello %d\n", local)
}

func main() {
	http.HandleFunc("/", answer)
	log.Fatal(http.ListenAndServe("127.0.0.1:8899", nil))
}
