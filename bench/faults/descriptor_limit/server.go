// An HTTP server in one line. Its limit of descriptors is too small: see fault.toml.
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
