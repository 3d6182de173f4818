package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	pb "covey.test/interop/testpb"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
)

// wireCases write frames by hand, because Go's client cannot send what they send.
var wireCases = []testCase{
	{"wire-one-byte-per-write", withWire(func(w *wire) (string, error) {
		for _, each := range echoFrame(1, "slow").encode() {
			if err := w.write([]byte{each}); err != nil {
				return "", err
			}
			time.Sleep(time.Millisecond)
		}
		if _, err := w.expectCode(1, 0); err != nil {
			return "", err
		}
		return "", w.expectEcho(3)
	})},
	{"wire-100-frames-in-one-write", withWire(func(w *wire) (string, error) {
		var frames []frame
		for index := range uint32(100) {
			frames = append(frames, echoFrame(2*index+1, "many"))
		}
		if err := w.send(frames...); err != nil {
			return "", err
		}
		seen := map[uint32]bool{}
		for range 100 {
			f, err := w.receive()
			if err != nil {
				return "", err
			}
			response, err := f.response()
			if err != nil || code(response) != 0 || seen[f.stream] {
				return "", fmt.Errorf("answer %v, err %v, seen before: %v", f, err, seen[f.stream])
			}
			seen[f.stream] = true
		}
		return "", w.expectEcho(201)
	})},
	{"wire-even-stream-id", refused(3, echoFrame(2, "even"))},
	{"wire-stream-id-0", refused(3, echoFrame(0, "zero"))},
	// The parity is looked at before the type.
	{"wire-even-id-of-unknown-type", refused(3, frame{stream: 2, kind: 9})},
	{"wire-reused-stream-id", withWire(func(w *wire) (string, error) {
		if err := w.expectEcho(1); err != nil {
			return "", err
		}
		if err := w.send(echoFrame(1, "again")); err != nil {
			return "", err
		}
		message, err := w.expectCode(1, 3)
		if err != nil {
			return "", err
		}
		return message, w.expectEcho(3)
	})},
	{"wire-skipped-stream-ids", withWire(func(w *wire) (string, error) {
		for _, stream := range []uint32{1, 5, 101, 1<<31 - 1, 1<<32 - 1} {
			if err := w.expectEcho(stream); err != nil {
				return "", err
			}
		}
		return "", nil
	})},
	{"wire-skipped-id-used-later", withWire(func(w *wire) (string, error) {
		if err := w.expectEcho(5); err != nil {
			return "", err
		}
		if err := w.send(echoFrame(3, "late")); err != nil {
			return "", err
		}
		response, err := w.receiveResponse(3)
		if err != nil {
			return "", err
		}
		if got := code(response); got != 0 && got != 3 {
			return "", fmt.Errorf("wanted it served, or code 3 as Go gives, got %d", got)
		}
		return fmt.Sprintf("code %d", code(response)), w.expectEcho(7)
	})},
	{"wire-unknown-type-is-ignored", withWire(func(w *wire) (string, error) {
		unknown := []frame{{stream: 1, kind: 4}, {stream: 1, kind: 255, flags: 255, data: []byte("??")}, {stream: 3, kind: 0}}
		if err := w.send(unknown...); err != nil {
			return "", err
		}
		return "", w.expectEcho(5)
	})},
	{"wire-unknown-flags-are-ignored", withWire(func(w *wire) (string, error) {
		f := echoFrame(1, "flags")
		f.flags = 0xf8
		if err := w.send(f); err != nil {
			return "", err
		}
		if _, err := w.expectCode(1, 0); err != nil {
			return "", err
		}
		return "", w.expectEcho(3)
	})},
	{"wire-response-to-the-server", withWire(func(w *wire) (string, error) {
		if err := w.send(frame{stream: 1, kind: typeResponse, data: []byte{0x0a, 0x00}}); err != nil {
			return "", err
		}
		return "", w.expectEchoAfter(3, 1)
	})},
	{"wire-invalid-envelope", refused(3, frame{stream: 1, kind: typeRequest, data: []byte{0x0a, 0x7f, 0x01}})},
	{"wire-envelope-with-invalid-utf8", refused(3, frame{stream: 1, kind: typeRequest, data: []byte{0x0a, 0x02, 0xff, 0xfe}})},
	{"wire-empty-envelope", refused(12, frame{stream: 1, kind: typeRequest})},
	{"wire-envelope-with-unknown-fields", withWire(func(w *wire) (string, error) {
		f := echoFrame(1, "more")
		f.data = append(f.data, 0xfa, 0x01, 0x03, 'a', 'b', 'c')
		if err := w.send(f); err != nil {
			return "", err
		}
		if _, err := w.expectCode(1, 0); err != nil {
			return "", err
		}
		return "", w.expectEcho(3)
	})},
	{"wire-undecodable-payload", refused(13, requestFrame(1, 0,
		&ttrpc.Request{Service: serviceName, Method: "Echo", Payload: []byte{0x0a, 0x05, 0x01}}))},
	{"wire-oversized-request", withWire(func(w *wire) (string, error) {
		f := requestFrame(1, 0, request("Echo", &pb.EchoRequest{Payload: payloadForEnvelope(frameBytesMax + 1)}))
		if len(f.data) != frameBytesMax+1 {
			return "", fmt.Errorf("the case itself is wrong: %d bytes", len(f.data))
		}
		if err := w.send(f); err != nil {
			return "", err
		}
		message, err := w.expectCode(1, 8)
		if err != nil {
			return "", err
		}
		return message, w.expectEcho(3)
	})},
	{"wire-length-with-a-nonzero-first-byte", func(_ context.Context, address string) (string, error) {
		w, err := dialWire(address)
		if err != nil {
			return "", err
		}
		defer w.close()
		header := []byte{0x01, 0, 0, 0, 0, 0, 0, 1, typeRequest, 0}
		if err := w.write(header); err != nil {
			return "", err
		}
		f, err := w.receiveWithin(500 * time.Millisecond)
		detail := fmt.Sprintf("answer %v, %v", f, err)
		if errors.Is(err, io.EOF) {
			detail = "the connection is closed"
		}
		return detail, aliveAt(address)
	}},
	{"wire-end-inside-a-header", endInside(4)},
	{"wire-end-inside-a-body", endInside(20)},
	{"wire-half-a-frame-delays-no-other-connection", func(_ context.Context, address string) (string, error) {
		w, err := dialWire(address)
		if err != nil {
			return "", err
		}
		defer w.close()
		if err := w.write(echoFrame(1, "half").encode()[:20]); err != nil {
			return "", err
		}
		return "", aliveAt(address)
	}},

	{"wire-data-on-unknown-stream", refused(3, frame{stream: 1, kind: typeData, data: encode(chatMessage(0))})},
	{"wire-data-on-finished-stream", withWire(func(w *wire) (string, error) {
		opened := requestFrame(1, remoteOpen|noData, request("Chat", nil))
		if err := w.send(opened, frame{stream: 1, kind: typeData, flags: remoteClosed | noData}); err != nil {
			return "", err
		}
		if err := w.expectClose(1); err != nil {
			return "", err
		}
		// Go forgets the stream a moment after it has sent the end.
		time.Sleep(50 * time.Millisecond)
		if err := w.send(frame{stream: 1, kind: typeData, data: encode(chatMessage(0))}); err != nil {
			return "", err
		}
		message, err := w.expectCode(1, 3)
		if err != nil {
			return "", err
		}
		return message, w.expectEcho(3)
	})},
	{"wire-client-stream-opened-as-go-does", sumByHand(remoteOpen)},
	{"wire-client-stream-opened-as-rust-does", sumByHand(remoteOpen | noData)},
	{"wire-client-stream-closed-with-data", withWire(func(w *wire) (string, error) {
		err := w.send(
			requestFrame(1, remoteOpen|noData, request("Sum", nil)),
			frame{stream: 1, kind: typeData, data: encode(&pb.SumRequest{Value: 1})},
			frame{stream: 1, kind: typeData, flags: remoteClosed, data: encode(&pb.SumRequest{Value: 2})},
		)
		if err != nil {
			return "", err
		}
		// Go delivers the message, then also answers with an error; which of the two comes first is
		// a race there.
		response, err := w.receiveResponse(1)
		if err != nil {
			return "", err
		}
		answer := &pb.SumResponse{}
		if err := proto.Unmarshal(response.Payload, answer); err != nil {
			return "", err
		}
		if code(response) != 3 && (code(response) != 0 || answer.Sum != 3) {
			return "", fmt.Errorf("wanted sum 3, or code 3 as Go gives, got code %d, sum %d", code(response), answer.Sum)
		}
		return fmt.Sprintf("first answer: code %d, sum %d", code(response), answer.Sum), w.expectEchoAfter(3, 1)
	})},
	{"wire-server-stream-with-empty-request", withWire(func(w *wire) (string, error) {
		if err := w.send(requestFrame(1, remoteClosed, request("Count", nil))); err != nil {
			return "", err
		}
		if err := w.expectClose(1); err != nil {
			return "", err
		}
		return "", w.expectEcho(3)
	})},
	{"wire-second-close", withWire(func(w *wire) (string, error) {
		end := frame{stream: 1, kind: typeData, flags: remoteClosed | noData}
		if err := w.send(requestFrame(1, remoteOpen|noData, request("Sum", nil)), end, end); err != nil {
			return "", err
		}
		if _, err := w.expectCode(1, 0); err != nil {
			return "", err
		}
		return "", w.expectEchoAfter(3, 1)
	})},

	{"wire-timeout-minus-1", timeoutCase(-1, true)},
	{"wire-timeout-1", timeoutCase(1, true)},
	{"wire-timeout-2^53+1", timeoutCase(1<<53+1, false)},
	{"wire-timeout-int64-max", timeoutCase(math.MaxInt64, false)},
	{"wire-timeout-of-a-stream", withWire(func(w *wire) (string, error) {
		envelope := request("Chat", nil)
		envelope.TimeoutNano = int64(100 * time.Millisecond)
		opened := requestFrame(1, remoteOpen|noData, envelope)
		message := frame{stream: 1, kind: typeData, data: encode(&pb.EchoRequest{Payload: []byte("x")})}
		if err := w.send(opened, message); err != nil {
			return "", err
		}
		f, err := w.receive()
		if err != nil {
			return "", err
		}
		answer := &pb.EchoResponse{}
		if err := proto.Unmarshal(f.data, answer); err != nil || f.kind != typeData || !answer.HasDeadline {
			return "", fmt.Errorf("wanted a message that has a deadline, got %v %v", f, answer)
		}
		text, err := w.expectCode(1, 4)
		if err != nil {
			return "", err
		}
		return text, w.expectEcho(3)
	})},
	{"wire-metadata-of-a-stream", withWire(func(w *wire) (string, error) {
		envelope := request("Chat", nil)
		envelope.Metadata = []*ttrpc.KeyValue{{Key: "key", Value: "one"}, {Key: "key", Value: "two"}}
		message := frame{stream: 1, kind: typeData, data: encode(&pb.EchoRequest{MetadataKey: "key"})}
		if err := w.send(requestFrame(1, remoteOpen|noData, envelope), message); err != nil {
			return "", err
		}
		f, err := w.receive()
		if err != nil {
			return "", err
		}
		answer := &pb.EchoResponse{}
		if err := proto.Unmarshal(f.data, answer); err != nil || !slices.Equal(answer.MetadataValues, []string{"one", "two"}) {
			return "", fmt.Errorf("wanted both values, got %v %v", f, answer)
		}
		return "", w.expectEchoAfter(3, 1)
	})},
	{"wire-metadata-odd-keys", withWire(func(w *wire) (string, error) {
		envelope := request("Echo", &pb.EchoRequest{MetadataKey: "Mixed"})
		envelope.Metadata = []*ttrpc.KeyValue{{Key: "Mixed", Value: "m"}, {}, {Key: "", Value: "no key"}, {Key: "no value"}}
		if err := w.send(requestFrame(1, 0, envelope)); err != nil {
			return "", err
		}
		response, err := w.receiveResponse(1)
		if err != nil {
			return "", err
		}
		answer := &pb.EchoResponse{}
		if err := proto.Unmarshal(response.Payload, answer); err != nil || code(response) != 0 {
			return "", fmt.Errorf("code %d %w", code(response), err)
		}
		return fmt.Sprintf("a key sent as \"Mixed\" is found: %v", len(answer.MetadataValues) > 0), w.expectEcho(3)
	})},
}

// refused sends one frame, wants the code on its stream, and then a call that works.
func refused(want int32, f frame) func(context.Context, string) (string, error) {
	return withWire(func(w *wire) (string, error) {
		if err := w.send(f); err != nil {
			return "", err
		}
		message, err := w.expectCode(f.stream, want)
		if err != nil {
			return "", err
		}
		return message, w.expectEcho(3)
	})
}

func endInside(bytes int) func(context.Context, string) (string, error) {
	return func(_ context.Context, address string) (string, error) {
		w, err := dialWire(address)
		if err != nil {
			return "", err
		}
		if err := w.expectEcho(1); err != nil {
			return "", err
		}
		if err := w.write(echoFrame(3, "never whole").encode()[:bytes]); err != nil {
			return "", err
		}
		w.close()
		return "", aliveAt(address)
	}
}

func sumByHand(flags byte) func(context.Context, string) (string, error) {
	return withWire(func(w *wire) (string, error) {
		err := w.send(
			requestFrame(1, flags, request("Sum", nil)),
			frame{stream: 1, kind: typeData, data: encode(&pb.SumRequest{Value: 40})},
			frame{stream: 1, kind: typeData},
			frame{stream: 1, kind: typeData, data: encode(&pb.SumRequest{Value: 2})},
			frame{stream: 1, kind: typeData, flags: remoteClosed | noData},
		)
		if err != nil {
			return "", err
		}
		response, err := w.receiveResponse(1)
		if err != nil {
			return "", err
		}
		answer := &pb.SumResponse{}
		if err := proto.Unmarshal(response.Payload, answer); err != nil {
			return "", err
		}
		if code(response) != 0 || answer.Sum != 42 || answer.Count != 3 {
			return "", fmt.Errorf("wanted 42 of 3 messages, got code %d, %v", code(response), answer)
		}
		return "", w.expectEcho(3)
	})
}

func timeoutCase(nanos int64, expires bool) func(context.Context, string) (string, error) {
	return withWire(func(w *wire) (string, error) {
		envelope := request("Echo", &pb.EchoRequest{DelayMillis: 50})
		if expires {
			envelope = request("Echo", &pb.EchoRequest{DelayMillis: 3000})
		}
		envelope.TimeoutNano = nanos
		begun := time.Now()
		if err := w.send(requestFrame(1, 0, envelope)); err != nil {
			return "", err
		}
		response, err := w.receiveResponse(1)
		if err != nil {
			return "", err
		}
		if expires {
			if took := time.Since(begun); code(response) != 4 || took > time.Second {
				return "", fmt.Errorf("wanted code 4 at once, got %d after %v", code(response), took)
			}
			return response.Status.GetMessage(), w.expectEcho(3)
		}
		answer := &pb.EchoResponse{}
		if err := proto.Unmarshal(response.Payload, answer); err != nil {
			return "", err
		}
		if code(response) != 0 || !answer.HasDeadline {
			return "", fmt.Errorf("wanted an answer that has a deadline, got code %d, %v", code(response), answer)
		}
		return "", w.expectEcho(3)
	})
}

// expectClose wants exactly the frame that ends a stream of messages.
func (w *wire) expectClose(stream uint32) error {
	f, err := w.receive()
	if err != nil {
		return err
	}
	if f.stream != stream || f.kind != typeData || f.flags != remoteClosed|noData || len(f.data) != 0 {
		return fmt.Errorf("wanted the close of stream %d, got %v", stream, f)
	}
	return nil
}

// expectEchoAfter makes a call and skips whatever still comes on the other stream before its answer.
func (w *wire) expectEchoAfter(stream, other uint32) error {
	want := fmt.Sprintf("echo %d", stream)
	if err := w.send(echoFrame(stream, want)); err != nil {
		return err
	}
	for range 10 {
		f, err := w.receive()
		if err != nil {
			return err
		}
		if f.stream == other {
			continue
		}
		response, err := f.response()
		if err != nil {
			return err
		}
		if f.stream != stream || code(response) != 0 {
			return fmt.Errorf("the call after it got %v", f)
		}
		return nil
	}
	return errors.New("the call after it got no answer")
}
