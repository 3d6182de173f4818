package main

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"covey.test/interop/load"
)

const proxyLimit = time.Minute

// proxyCommand stands between a client and a server that are other programs, takes one connection,
// and writes what went over it as a transcript.
func proxyCommand(flags *flag.FlagSet) func(string) error {
	to := flags.String("to", "", "the server's address")
	out := flags.String("out", "", "the folder of the transcripts")
	made := &transcript{Format: 1}
	flags.StringVar(&made.Name, "name", "", "the transcript's name")
	flags.StringVar(&made.About, "about", "", "what it shows")
	flags.StringVar(&made.Recorded.Client, "client", "", "what the client is, with its version")
	flags.StringVar(&made.Recorded.Server, "server", "", "what the server is, with its version")
	calls := flags.String("calls", "", "what the client is asked to do, in the form that transcripts have")
	callsFrom := flags.String("calls-from", "", "the transcript of the same calls by another client")
	return func(address string) error {
		if *calls != "" {
			if err := json.Unmarshal([]byte(*calls), &made.Calls); err != nil {
				return err
			}
		}
		if *callsFrom != "" {
			same := &transcript{}
			text, err := os.ReadFile(filepath.Join(*out, *callsFrom+".json"))
			if err == nil {
				err = json.Unmarshal(text, same)
			}
			if err != nil {
				return err
			}
			made.Calls = same.Calls
		}
		tape, err := proxyOne(address, *to)
		if err != nil {
			return err
		}
		if err := tape.finish(made); err != nil {
			return err
		}
		if err := made.takeStatuses(); err != nil {
			return err
		}
		return made.write(*out)
	}
}

// takeStatuses puts the statuses that were recorded in place of those that another server gave for the
// same calls.
func (t *transcript) takeStatuses() error {
	for index := range t.Calls {
		stream := uint32(2*index + 1)
		t.Calls[index].Status = nil
		for _, each := range t.Frames {
			header, headerErr := hex.DecodeString(each.Header)
			body, bodyErr := hex.DecodeString(each.Body)
			if err := errors.Join(headerErr, bodyErr); err != nil {
				return err
			}
			if each.From != "server" || header[8] != typeResponse || binary.BigEndian.Uint32(header[4:8]) != stream {
				continue
			}
			response, err := frame{stream: stream, kind: typeResponse, data: body}.response()
			if err != nil {
				return err
			}
			if code(response) == 0 {
				continue
			}
			if t.Calls[index].Status, err = asJSON(response.Status); err != nil {
				return err
			}
		}
	}
	return nil
}

func proxyOne(address, upstream string) (*tape, error) {
	listener, err := load.Listen(address)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	fmt.Printf("ready %s\n", load.Name(listener))
	time.AfterFunc(proxyLimit, func() { listener.Close() })
	client, err := listener.Accept()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	server, err := load.Dial(upstream)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	tape := newTape()
	for _, conn := range []net.Conn{client, server} {
		if err := conn.SetDeadline(time.Now().Add(proxyLimit)); err != nil {
			return nil, err
		}
	}
	ended := make(chan error, 2)
	forward := func(from string, source, target net.Conn) {
		buffer := make([]byte, 64<<10)
		for {
			count, err := source.Read(buffer)
			tape.add(from, buffer[:count])
			if err == nil {
				_, err = target.Write(buffer[:count])
			}
			if err != nil {
				if errors.Is(err, io.EOF) {
					tape.end(from)
				}
				target.Close()
				ended <- nil
				return
			}
		}
	}
	go forward("client", client, server)
	go forward("server", server, client)
	<-ended
	<-ended
	return tape, nil
}
