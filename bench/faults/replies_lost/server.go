// A UDP server that answers pings.
//
// usage: server PORT fault|twin
//
// fault: forgets to answer every tenth ping.
// twin:  answers every tenth ping from another goroutine.
package main

import (
	"log"
	"net"
	"os"
)

func main() {
	connection, err := net.ListenPacket("udp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for count := 1; ; count++ {
		ping := make([]byte, 64)
		length, client, err := connection.ReadFrom(ping)
		if err != nil {
			log.Fatal(err)
		}
		if count%10 != 0 {
			connection.WriteTo(ping[:length], client)
		} else if os.Args[2] == "twin" {
			go connection.WriteTo(ping[:length], client)
		}
	}
}
