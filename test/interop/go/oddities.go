package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"covey.test/interop/load"
	pb "covey.test/interop/testpb"

	"github.com/containerd/ttrpc"
)

// oddity shows one thing that Go's implementation does and that covey must survive or do better. It
// gives what was seen; an error means that it could not be shown.
type oddity struct {
	name string
	show func(folder string) (string, error)
}

var oddities = []oddity{
	{"data-on-live-unary-call", func(folder string) (string, error) {
		return killed(folder, requestFrame(1, 0, request("Echo", &pb.EchoRequest{DelayMillis: 5000})),
			frame{stream: 1, kind: typeData, data: []byte{0x0a, 0x01, 0x78}})
	}},
	{"client-keeps-failed-streams", func(folder string) (string, error) {
		p, end, err := inProcess(folder, "leak")
		if err != nil {
			return "", err
		}
		defer end()
		for range 100 {
			stream, err := p.FailStream(context.Background(), &pb.FailRequest{Code: 5})
			if err != nil {
				return "", err
			}
			if _, err := stream.Recv(); err == nil {
				return "", errors.New("the stream did not fail")
			}
		}
		kept := reflect.ValueOf(p.client).Elem().FieldByName("streams").Len()
		return fmt.Sprintf("100 streams ended with a status, Go's client still keeps %d of them", kept), nil
	}},
	{"abandoned-stream-stalls-connection", func(folder string) (string, error) {
		p, end, err := inProcess(folder, "stall")
		if err != nil {
			return "", err
		}
		defer end()
		if _, err := p.Count(context.Background(), &pb.CountRequest{Count: 1000, Bytes: 16}); err != nil {
			return "", err
		}
		time.Sleep(50 * time.Millisecond)
		begun := time.Now()
		if err := p.alive(); err != nil {
			return "", err
		}
		return fmt.Sprintf("a unary call beside a stream that nobody reads took %v", time.Since(begun).Round(10*time.Millisecond)), nil
	}},
	{"refused-calls-make-a-busy-connection-look-idle", func(folder string) (string, error) {
		server, address, err := startServer(folder, "idle")
		if err != nil {
			return "", err
		}
		defer server.Close()
		p, err := connect(address)
		if err != nil {
			return "", err
		}
		defer p.close()
		work := make(chan error, 1)
		go func() {
			_, err := p.Echo(context.Background(), &pb.EchoRequest{DelayMillis: 1500})
			work <- err
		}()
		time.Sleep(100 * time.Millisecond)
		_ = p.client.Call(context.Background(), "covey.test.v1.Missing", "Echo", &pb.EchoRequest{}, &pb.EchoResponse{})
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		shutdown := server.Shutdown(ctx)
		return fmt.Sprintf("after one call of an unknown service, Shutdown took %v (%v), and the call of 1.5 s that ran ended with %v",
			time.Since(begun).Round(10*time.Millisecond), shutdown, <-work), nil
	}},
	{"handler-that-does-not-read", func(folder string) (string, error) {
		w, end, err := wireTo(folder, "full")
		if err != nil {
			return "", err
		}
		defer end()
		frames := []frame{requestFrame(1, remoteOpen|noData, request("Chat", nil))}
		frames = append(frames, frame{stream: 1, kind: typeData, data: encode(&pb.EchoRequest{DelayMillis: 3000})})
		for range 80 {
			frames = append(frames, frame{stream: 1, kind: typeData, data: encode(chatMessage(0))})
		}
		if err := w.send(append(frames, echoFrame(3, "beside"))...); err != nil {
			return "", err
		}
		begun := time.Now()
		var seen []string
		for range 40 {
			f, err := w.receive()
			if err != nil {
				return "", err
			}
			seen = append(seen, f.String())
			if f.stream == 3 {
				break
			}
		}
		return fmt.Sprintf("80 messages to a handler that is busy, then a unary call: %d frames, the first %s, the last %s after %v",
			len(seen), seen[0], seen[len(seen)-1], time.Since(begun).Round(10*time.Millisecond)), nil
	}},
}

func odditiesCommand(*flag.FlagSet) func(string) error {
	return func(folder string) error {
		quiet()
		fmt.Println(goPeer())
		for _, each := range oddities {
			seen, err := each.show(folder)
			if err != nil {
				seen = "not shown: " + err.Error()
			}
			fmt.Printf("%s: %s\n", each.name, seen)
		}
		return nil
	}
}

// killed starts a server of its own, sends it the frames, and says how it ended.
func killed(folder string, frames ...frame) (string, error) {
	path := filepath.Join(folder, "killed")
	defer os.Remove(path)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	server := exec.CommandContext(ctx, self, "serve", path, "--limit", "10s")
	out, err := server.StdoutPipe()
	if err != nil {
		return "", err
	}
	said := new(strings.Builder)
	server.Stderr = said
	if err := server.Start(); err != nil {
		return "", err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return "", err
	}
	w, err := dialWire(path)
	if err != nil {
		return "", err
	}
	defer w.close()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, w.conn)
	}()
	_ = w.send(frames...)
	select {
	case <-drained:
	case <-time.After(2 * time.Second):
		cancel()
	}
	ended := server.Wait()
	first, _, _ := strings.Cut(said.String(), "\n")
	if !strings.Contains(first, "panic") {
		return "the server lives", nil
	}
	return fmt.Sprintf("the server process ends: %v, %s", ended, first), nil
}

func startServer(folder, name string) (*ttrpc.Server, string, error) {
	server, err := newServer()
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(folder, name)
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, "", err
	}
	go func() { _ = server.Serve(context.Background(), listener) }()
	return server, load.Name(listener), nil
}

func inProcess(folder, name string) (*peer, func(), error) {
	server, address, err := startServer(folder, name)
	if err != nil {
		return nil, nil, err
	}
	p, err := connect(address)
	if err != nil {
		return nil, nil, err
	}
	return p, func() { p.close(); server.Close() }, nil
}

func wireTo(folder, name string) (*wire, func(), error) {
	server, address, err := startServer(folder, name)
	if err != nil {
		return nil, nil, err
	}
	w, err := dialWire(address)
	if err != nil {
		return nil, nil, err
	}
	return w, func() { w.close(); server.Close() }, nil
}
