package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	pb "covey.test/interop/testpb"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
)

const (
	timeLeft      = "timeout_nano is what was left of the deadline when it was sent"
	libraryText   = "the message is the protobuf library's own text, which differs from build to build"
	deadlineOfDay = 24 * time.Hour
)

func echoMessage(payload string) proto.Message {
	return &pb.EchoRequest{Payload: []byte(payload)}
}

func one(method string, options callOptions, requests ...proto.Message) func(*session) error {
	return func(s *session) error { return s.call(method, options, requests...) }
}

var recordings = []recording{
	{name: "unary", about: "one unary call", run: one("Echo", callOptions{}, echoMessage("hello"))},
	{name: "unary-empty", about: "an empty message, answered with one: the response is a frame of length 0",
		run: one("Nothing", callOptions{}, &pb.NothingRequest{})},
	{name: "unary-metadata-timeout", about: "two values under one key, and a deadline of a day",
		run: one("Echo", callOptions{metadata: ttrpc.MD{"key": {"one", "two"}}, timeout: deadlineOfDay},
			&pb.EchoRequest{Payload: []byte("hello"), MetadataKey: "key"}),
		varies: map[int]string{0: timeLeft}},
	{name: "unary-error", about: "a status that has a message only",
		run: one("Fail", callOptions{}, &pb.FailRequest{Code: 5, Message: "not here"})},
	{name: "unary-error-details", about: "a status that has two details, each the request",
		run: one("Fail", callOptions{}, &pb.FailRequest{Code: 9, Message: "not now", After: 2})},
	{name: "unknown-service", about: "a service that the server does not have",
		run: one("Echo", callOptions{service: "covey.test.v1.Missing"}, echoMessage("hello"))},
	{name: "unknown-method", about: "a method that the service does not have",
		run: one("Missing", callOptions{}, echoMessage("hello"))},
	{name: "several-calls", about: "three calls on one connection, stream ids 1, 3 and 5", run: func(s *session) error {
		return errors.Join(
			s.call("Echo", callOptions{}, echoMessage("first")),
			s.call("Count", callOptions{}, &pb.CountRequest{Count: 1, Bytes: 2}),
			s.call("Nothing", callOptions{}, &pb.NothingRequest{}),
		)
	}},
	{name: "server-stream", about: "three messages", run: one("Count", callOptions{}, &pb.CountRequest{Count: 3, Bytes: 4})},
	{name: "server-stream-empty", about: "an empty request, answered with no message",
		run: one("Count", callOptions{}, &pb.CountRequest{})},
	{name: "server-stream-empty-message", about: "one message that has no bytes: a Data frame of length 0 without the no-data flag",
		run: one("Count", callOptions{}, &pb.CountRequest{Count: 1})},
	{name: "client-stream", about: "two messages, the second of no bytes",
		run: one("Sum", callOptions{}, &pb.SumRequest{Value: 42}, &pb.SumRequest{})},
	{name: "client-stream-empty", about: "no message at all", run: one("Sum", callOptions{})},
	{name: "bidi", about: "three messages, each sent after the answer to the one before",
		run: one("Chat", callOptions{}, echoMessage("one"), echoMessage(""), echoMessage("three"))},
	{name: "bidi-half-close-first", about: "three messages and the client's close before the first answer is read",
		run: one("Chat", callOptions{halfCloseFirst: true}, echoMessage("one"), echoMessage("two"), echoMessage("three"))},
	{name: "bidi-empty", about: "the client closes at once", run: one("Chat", callOptions{halfCloseFirst: true})},
	{name: "stream-error", about: "two messages, then a status",
		run: one("FailStream", callOptions{}, &pb.FailRequest{Code: 11, Message: "past the end", After: 2})},
	{name: "stream-error-at-once", about: "a status and no message",
		run: one("FailStream", callOptions{}, &pb.FailRequest{Code: 7, Message: "not yours"})},

	{name: "even-stream-id", about: "refused on the same id; the next call works", byHand: true,
		run: answered(echoFrame(2, "even"))},
	{name: "stream-id-0", about: "refused on the same id; the next call works", byHand: true,
		run: answered(echoFrame(0, "zero"))},
	{name: "reused-stream-id", about: "the second call of an id is refused; the next call works", byHand: true,
		run: func(s *session) error {
			return errors.Join(s.wire.expectEcho(1), answered(echoFrame(1, "again"))(s))
		}},
	{name: "skipped-stream-id", about: "ids 1, 5 and 2147483647 are served", byHand: true, run: func(s *session) error {
		return errors.Join(s.wire.expectEcho(1), s.wire.expectEcho(5), s.wire.expectEcho(1<<31-1))
	}},
	{name: "oversized-message", about: "a request of one byte above 4 MiB, all zero; refused, and the next call works", byHand: true,
		run: answered(frame{stream: 1, kind: typeRequest, data: make([]byte, frameBytesMax+1)})},
	{name: "oversized-reply", about: "a reply of one byte above 4 MiB: Go's server says nothing and ends the connection", byHand: true,
		run: func(s *session) error {
			envelope := request("Count", &pb.CountRequest{Count: 1, Bytes: frameBytesMax - 4})
			if err := s.wire.send(requestFrame(1, remoteClosed, envelope)); err != nil {
				return err
			}
			if f, err := s.wire.receive(); !errors.Is(err, io.EOF) {
				return fmt.Errorf("wanted the end of the connection, got %v %v", f, err)
			}
			return nil
		}},
	{name: "invalid-envelope", about: "a request that is no protobuf message; refused, and the next call works", byHand: true,
		run:    answered(frame{stream: 1, kind: typeRequest, data: []byte{0x0a, 0x7f, 0x01}}),
		varies: map[int]string{1: libraryText}},
	{name: "invalid-utf8", about: "a service name that is not UTF-8; refused, and the next call works", byHand: true,
		run:    answered(frame{stream: 1, kind: typeRequest, data: []byte{0x0a, 0x02, 0xff, 0xfe}}),
		varies: map[int]string{1: libraryText}},
	{name: "undecodable-payload", about: "a good envelope around bytes that are no message; refused, and the next call works", byHand: true,
		run:    answered(requestFrame(1, 0, &ttrpc.Request{Service: serviceName, Method: "Echo", Payload: []byte{0x0a, 0x05, 0x01}})),
		varies: map[int]string{1: libraryText}},
	{name: "unknown-type", about: "frames of types 0, 4 and 255 are ignored; the next call works", byHand: true,
		run: func(s *session) error {
			unknown := []frame{{stream: 1}, {stream: 1, kind: 4, data: []byte("?")}, {stream: 1, kind: 255, flags: 255}}
			return errors.Join(s.wire.send(unknown...), s.wire.expectEcho(3))
		}},
	{name: "timeout-negative", about: "a deadline that has passed, and a handler that waits longer; the next call works", byHand: true,
		run: func(s *session) error {
			envelope := request("Echo", &pb.EchoRequest{DelayMillis: 5000})
			envelope.TimeoutNano = -1
			return answered(requestFrame(1, 0, envelope))(s)
		}},
	{name: "data-on-unknown-stream", about: "refused; the next call works", byHand: true,
		run: answered(frame{stream: 1, kind: typeData, data: []byte{0x0a, 0x01, 0x78}})},
	{name: "data-on-finished-stream", about: "a message after both ends closed is refused; the next call works", byHand: true,
		run: func(s *session) error {
			end := frame{stream: 1, kind: typeData, flags: remoteClosed | noData}
			err := errors.Join(
				s.wire.send(requestFrame(1, remoteOpen|noData, request("Chat", nil)), end),
				s.wire.expectClose(1),
			)
			// Go forgets the stream a moment after it has sent the end.
			time.Sleep(50 * time.Millisecond)
			return errors.Join(err, answered(frame{stream: 1, kind: typeData, data: []byte{0x0a, 0x01, 0x78}})(s))
		}},
	{name: "client-stream-no-data-flag", about: "a client stream opened with flags 06, as Rust does, and closed", byHand: true,
		run: func(s *session) error {
			err := s.wire.send(
				requestFrame(1, remoteOpen|noData, request("Sum", nil)),
				frame{stream: 1, kind: typeData, data: encode(&pb.SumRequest{Value: 42})},
				frame{stream: 1, kind: typeData, flags: remoteClosed | noData},
			)
			if err != nil {
				return err
			}
			_, err = s.wire.expectCode(1, 0)
			return err
		}},
}

// answered sends a frame, takes the one answer, and sees that the connection still works.
func answered(f frame) func(*session) error {
	return func(s *session) error {
		if err := s.wire.send(f); err != nil {
			return err
		}
		if _, err := s.wire.receiveResponse(f.stream); err != nil {
			return err
		}
		return s.wire.expectEcho(3)
	}
}
