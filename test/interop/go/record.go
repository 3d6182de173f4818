package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	pb "covey.test/interop/testpb"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// session is one recording under way: a server of its own, and one connection to it.
type session struct {
	conn   *tapedConn
	client *ttrpc.Client
	wire   *wire
	calls  []recordedCall
}

type recording struct {
	name, about string
	// byHand says that the client's frames are not a ttrpc client's.
	byHand bool
	run    func(s *session) error
	// varies maps the position of a frame to the reason why its body is not always the same.
	varies map[int]string
}

type methodKind struct {
	kind  string
	desc  ttrpc.StreamDesc
	reply func() proto.Message
}

func echoReply() proto.Message { return &pb.EchoResponse{} }

var methods = map[string]methodKind{
	"Echo":       {"unary", ttrpc.StreamDesc{}, echoReply},
	"Fail":       {"unary", ttrpc.StreamDesc{}, echoReply},
	"Missing":    {"unary", ttrpc.StreamDesc{}, echoReply},
	"Nothing":    {"unary", ttrpc.StreamDesc{}, func() proto.Message { return &pb.NothingResponse{} }},
	"Count":      {"server_streaming", ttrpc.StreamDesc{StreamingServer: true}, func() proto.Message { return &pb.CountResponse{} }},
	"FailStream": {"server_streaming", ttrpc.StreamDesc{StreamingServer: true}, echoReply},
	"Sum":        {"client_streaming", ttrpc.StreamDesc{StreamingClient: true}, func() proto.Message { return &pb.SumResponse{} }},
	"Chat":       {"bidi_streaming", ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}, echoReply},
}

func recordCommand(flags *flag.FlagSet) func(string) error {
	check := flags.Bool("check", false, "write nothing; fail when a recording differs from the committed one")
	return func(folder string) error {
		quiet()
		for _, each := range recordings {
			made, err := each.make()
			if err != nil {
				return fmt.Errorf("%s: %w", each.name, err)
			}
			if *check {
				err = made.compare(folder)
			} else {
				err = made.write(folder)
			}
			if err != nil {
				return err
			}
		}
		fmt.Printf("%d transcripts\n", len(recordings))
		return nil
	}
}

func (r recording) make() (*transcript, error) {
	folder, err := os.MkdirTemp("", "covey-record-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	server, err := newServer()
	if err != nil {
		return nil, err
	}
	defer server.Close()
	listener, err := net.Listen("unix", filepath.Join(folder, "s"))
	if err != nil {
		return nil, err
	}
	go func() { _ = server.Serve(context.Background(), listener) }()
	conn, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		return nil, err
	}
	s := &session{conn: &tapedConn{Conn: conn, tape: newTape()}}
	made := &transcript{Format: 1, Name: r.name, About: r.about, Recorded: recordedWith{goPeer(), goPeer()}}
	if r.byHand {
		made.Recorded.Client = "frames written by hand"
		s.wire = newWire(s.conn)
	} else {
		s.client = ttrpc.NewClient(s.conn)
	}
	if err := r.within(10*time.Second, s); err != nil {
		return nil, err
	}
	s.conn.Close()
	made.Calls = s.calls
	if err := s.conn.tape.finish(made); err != nil {
		return nil, err
	}
	for index, reason := range r.varies {
		made.Frames[index].Varies = reason
	}
	return made, nil
}

func (r recording) within(limit time.Duration, s *session) error {
	done := make(chan error, 1)
	go func() { done <- r.run(s) }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return fmt.Errorf("no end within %v", limit)
	}
}

type callOptions struct {
	service        string
	metadata       ttrpc.MD
	timeout        time.Duration
	halfCloseFirst bool
}

// call makes one call of any kind and notes what was sent and what came.
func (s *session) call(method string, options callOptions, requests ...proto.Message) error {
	kind := methods[method]
	if options.service == "" {
		options.service = serviceName
	}
	made := recordedCall{
		Method: method, Service: options.service, Kind: kind.kind, Metadata: options.metadata,
		TimeoutMillis: options.timeout.Milliseconds(), HalfCloseFirst: options.halfCloseFirst,
		Requests: []json.RawMessage{}, Responses: []json.RawMessage{},
	}
	ctx := context.Background()
	if options.metadata != nil {
		ctx = ttrpc.WithMetadata(ctx, options.metadata)
	}
	if options.timeout > 0 {
		bounded, cancel := context.WithTimeout(ctx, options.timeout)
		defer cancel()
		ctx = bounded
	}
	for _, each := range requests {
		text, err := asJSON(each)
		if err != nil {
			return err
		}
		made.Requests = append(made.Requests, text)
	}
	var failure error
	take := func(message proto.Message, err error) error {
		if err != nil {
			return err
		}
		text, err := asJSON(message)
		made.Responses = append(made.Responses, text)
		return err
	}
	switch kind.kind {
	case "unary":
		reply := kind.reply()
		failure = take(reply, s.client.Call(ctx, options.service, method, requests[0], reply))
	case "server_streaming":
		failure = s.stream(ctx, kind, options, method, requests[0], nil, take)
	default:
		failure = s.stream(ctx, kind, options, method, nil, requests, take)
	}
	if failure != nil && !errors.Is(failure, io.EOF) {
		got, ok := status.FromError(failure)
		if !ok {
			return failure
		}
		text, err := asJSON(got.Proto())
		if err != nil {
			return err
		}
		made.Status = text
	}
	s.calls = append(s.calls, made)
	return nil
}

func (s *session) stream(
	ctx context.Context, kind methodKind, options callOptions, method string,
	first proto.Message, messages []proto.Message, take func(proto.Message, error) error,
) error {
	var opening any
	if first != nil {
		opening = first
	}
	held := options.halfCloseFirst
	if held {
		s.conn.hold.Lock()
	}
	stream, err := s.client.NewStream(ctx, &kind.desc, options.service, method, opening)
	if err != nil {
		return err
	}
	receive := func() error {
		reply := kind.reply()
		return take(reply, stream.RecvMsg(reply))
	}
	pingPong := kind.desc.StreamingServer && !options.halfCloseFirst
	for _, message := range messages {
		if err := stream.SendMsg(message); err != nil {
			return err
		}
		if pingPong {
			if err := receive(); err != nil {
				return err
			}
		}
	}
	if kind.desc.StreamingClient {
		if err := stream.CloseSend(); err != nil {
			return err
		}
	}
	if held {
		s.conn.hold.Unlock()
	}
	for {
		if err := receive(); err != nil {
			return err
		}
	}
}
