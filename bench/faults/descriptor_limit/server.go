// An HTTP server in one line. What is too small is its limit of descriptors: see fault.toml.
// usage: server PORT
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
