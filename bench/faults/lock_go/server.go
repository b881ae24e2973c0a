// An HTTP server with a map that all requests share under one mutex.
//
// usage: server PORT fault|twin
//
// fault: waits 6 ms for its "store" while it holds the mutex.
// twin:  waits as long, but before it takes the mutex.
package main

import (
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

var (
	mutex  sync.Mutex
	visits = map[string]int{}
)

func store() { time.Sleep(6 * time.Millisecond) }

func visit(w http.ResponseWriter, r *http.Request) {
	if os.Args[2] == "twin" {
		store()
	}
	mutex.Lock()
	defer mutex.Unlock()
	if os.Args[2] == "fault" {
		store()
	}
	visits[r.URL.Path]++
	fmt.Fprintln(w, visits[r.URL.Path])
}

func main() {
	http.HandleFunc("/", visit)
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
