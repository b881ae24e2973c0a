// More servers of bench/plans on goroutines. usage: web ROLE PORT [CERTIFICATE KEY] (roles as in
// ../c/web.c; and h2: as tls, over HTTP/2)
package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
)

func addUp(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Name  *string `json:"name"`
		Items []int64 `json:"items"`
	}
	if json.NewDecoder(r.Body).Decode(&request) != nil || request.Name == nil || request.Items == nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var sum int64
	for _, item := range request.Items {
		sum += item
	}
	body, _ := json.Marshal(map[string]any{"name": *request.Name, "count": len(request.Items), "sum": sum})
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

func logIn(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == "POST" && r.URL.Path == "/login":
		var request struct {
			User string `json:"user"`
		}
		if json.NewDecoder(r.Body).Decode(&request) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("X-Token", "token-of-"+request.User)
	case r.Method == "GET" && r.URL.Path == "/account" && strings.HasPrefix(r.Header.Get("X-Token"), "token-of-"):
		io.WriteString(w, "ok")
	default:
		w.WriteHeader(http.StatusForbidden)
	}
}

func hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "13")
	io.WriteString(w, "Hello, world\n")
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: web json|login|tls|h2 PORT [CERTIFICATE KEY]")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	handlers := map[string]http.HandlerFunc{"json": addUp, "login": logIn, "tls": hello, "h2": hello}
	server := http.Server{Handler: handlers[os.Args[1]], ErrorLog: log.New(io.Discard, "", 0)}
	switch os.Args[1] {
	case "tls": // HTTP/1.1 only
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		log.Fatal(server.ServeTLS(listener, os.Args[3], os.Args[4]))
	case "h2":
		log.Fatal(server.ServeTLS(listener, os.Args[3], os.Args[4]))
	default:
		log.Fatal(server.Serve(listener))
	}
}
