// The servers of bench/plans on goroutines. usage: server ROLE PORT (roles as in ../c/server.c)
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func listen(port string) net.Listener {
	listener, err := net.Listen("tcp4", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func serveUDP(port string) {
	address, err := net.ResolveUDPAddr("udp4", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	socket, err := net.ListenUDP("udp4", address)
	if err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 65536)
	for {
		if n, peer, err := socket.ReadFromUDPAddrPort(buffer); err == nil {
			socket.WriteToUDPAddrPort(buffer[:n], peer)
		}
	}
}

// Each connection has its own goroutine, as is usual in Go.
func serveAccept(port string, leak bool) {
	listener := listen(port)
	var kept []net.Conn // otherwise the garbage collector closes them
	for {
		connection, err := listener.Accept()
		if err != nil {
			continue
		}
		if leak {
			kept = append(kept, connection)
		}
		go func() {
			connection.Write([]byte("hello"))
			if leak {
				connection.(*net.TCPConn).CloseWrite()
			} else {
				connection.Close()
			}
		}()
	}
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: server udp|http|accept|accept-leak PORT")
		os.Exit(2)
	}
	port := os.Args[2]
	switch os.Args[1] {
	case "udp":
		serveUDP(port)
	case "http":
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "13")
			w.Write([]byte("Hello, world\n"))
		})
		log.Fatal(http.Serve(listen(port), handler))
	case "accept":
		serveAccept(port, false)
	case "accept-leak":
		serveAccept(port, true)
	}
}
