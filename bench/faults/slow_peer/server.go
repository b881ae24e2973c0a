// An HTTP server of one file of 4 MB. usage: server PORT
package main

import (
	"bytes"
	"net/http"
	"os"
)

var file = bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { w.Write(file) })
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
