// UDP ping-pong on goroutines. usage: pingpong server PORT | swarm PORT CLIENTS SECONDS
package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

var sent, received atomic.Int64

func serve(address *net.UDPAddr) {
	socket, err := net.ListenUDP("udp4", address)
	if err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 64)
	for {
		if _, peer, err := socket.ReadFromUDPAddrPort(buffer); err == nil {
			socket.WriteToUDPAddrPort([]byte("PONG"), peer)
		}
	}
}

// client sends, waits for the answer, sleeps a second, sends again.
func client(address *net.UDPAddr) {
	socket, err := net.DialUDP("udp4", nil, address)
	if err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 64)
	for {
		socket.Write([]byte("PING"))
		sent.Add(1)
		if _, err := socket.Read(buffer); err == nil {
			received.Add(1)
		}
		time.Sleep(time.Second)
	}
}

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		log.Fatal(err)
	}
	return n
}

func main() {
	address := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: number(2)}
	if os.Args[1] == "server" {
		serve(address)
	}
	clients, seconds := number(3), number(4)
	end := time.After(time.Duration(seconds) * time.Second)
	go func() {
		for i := 0; i < clients; i++ { // join within the first second
			go client(address)
			time.Sleep(time.Second / time.Duration(clients))
		}
	}()
	<-end
	fmt.Printf("swarm: %d clients sent %d, received %d\n", clients, sent.Load(), received.Load())
}
