// An HTTP server that aggregates statistics in the background, with eight workers.
//
// usage: server PORT fault|twin
//
// fault: the workers never rest, and GOMAXPROCS=8 gives each of them a thread, whatever the number
// of CPUs.
// twin:  they work 1 ms every 200 ms.
package main

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"time"
)

var total [8]uint64

func aggregate(worker int) {
	for until := time.Now().Add(time.Millisecond); time.Now().Before(until); {
		for i := uint64(0); i < 10000; i++ {
			total[worker] += i * i
		}
	}
}

func main() {
	runtime.GOMAXPROCS(8)
	for worker := range total {
		go func(worker int) {
			for {
				aggregate(worker)
				if os.Args[2] == "twin" {
					time.Sleep(200 * time.Millisecond)
				}
			}
		}(worker)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
