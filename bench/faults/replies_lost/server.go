// A UDP server that answers pings.
//
// usage: server PORT fault|twin
//
// fault: forgets to answer every tenth ping.
// twin:  answers every tenth ping with another, shorter text.
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
	request := make([]byte, 2048)
	for count := 1; ; count++ {
		_, client, err := connection.ReadFrom(request)
		if err != nil {
			log.Fatal(err)
		}
		reply := "PONG"
		if count%10 == 0 {
			if os.Args[2] == "fault" {
				continue
			}
			reply = "OK"
		}
		connection.WriteTo([]byte(reply), client)
	}
}
