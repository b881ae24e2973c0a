// An HTTP server that takes about 8 ms of CPU time for each request. What throttles it is the
// quota of its cgroup: see fault.toml.
//
// usage: server PORT
package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"time"
)

func render() (sum [32]byte) {
	for until := time.Now().Add(8 * time.Millisecond); time.Now().Before(until); {
		sum = sha256.Sum256(sum[:])
	}
	return sum
}

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%x\n", render())
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
