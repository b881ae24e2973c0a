// An HTTP server that takes some ms of CPU time for each request. The quota of its cgroup throttles
// it: see fault.toml.
//
// usage: server PORT
package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
)

func render() (sum [32]byte) {
	for i := 0; i < 36000; i++ {
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
