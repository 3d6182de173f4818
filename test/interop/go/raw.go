package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	pb "covey.test/interop/testpb"

	"covey.test/interop/load"

	"github.com/containerd/ttrpc"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	frameHeaderBytes = 10
	frameBytesMax    = 4 << 20
	serviceName      = "covey.test.v1.TestService"

	typeRequest  byte = 1
	typeResponse byte = 2
	typeData     byte = 3

	remoteClosed byte = 1
	remoteOpen   byte = 2
	noData       byte = 4
)

// frame is one message of the wire, as it is: nothing here refuses what the protocol forbids.
type frame struct {
	stream uint32
	kind   byte
	flags  byte
	data   []byte
}

func (f frame) encode() []byte {
	out := make([]byte, frameHeaderBytes, frameHeaderBytes+len(f.data))
	binary.BigEndian.PutUint32(out[:4], uint32(len(f.data)))
	binary.BigEndian.PutUint32(out[4:8], f.stream)
	out[8] = f.kind
	out[9] = f.flags
	return append(out, f.data...)
}

func (f frame) String() string {
	if f.kind == typeResponse {
		if response, err := f.response(); err == nil {
			return fmt.Sprintf("response on %d, code %d %q", f.stream, code(response), response.Status.GetMessage())
		}
	}
	return fmt.Sprintf("type %d flags %d on %d, %d bytes", f.kind, f.flags, f.stream, len(f.data))
}

func (f frame) response() (*ttrpc.Response, error) {
	if f.kind != typeResponse {
		return nil, fmt.Errorf("wanted a response, got %v", f)
	}
	response := &ttrpc.Response{}
	return response, proto.Unmarshal(f.data, response)
}

func code(response *ttrpc.Response) int32 {
	var none *spb.Status
	if response.Status == none {
		return 0
	}
	return response.Status.Code
}

// wire is a connection on which frames are written by hand.
type wire struct {
	conn   net.Conn
	reader *bufio.Reader
}

func dialWire(address string) (*wire, error) {
	conn, err := load.Dial(address)
	if err != nil {
		return nil, err
	}
	return newWire(conn), nil
}

func newWire(conn net.Conn) *wire {
	return &wire{conn: conn, reader: bufio.NewReader(conn)}
}

func (w *wire) close() { w.conn.Close() }

// send writes the frames with one write.
func (w *wire) send(frames ...frame) error {
	var out []byte
	for _, f := range frames {
		out = append(out, f.encode()...)
	}
	return w.write(out)
}

func (w *wire) write(out []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	_, err := w.conn.Write(out)
	return err
}

func (w *wire) receive() (frame, error) {
	return w.receiveWithin(10 * time.Second)
}

func (w *wire) receiveWithin(wait time.Duration) (frame, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return frame{}, err
	}
	var header [frameHeaderBytes]byte
	if _, err := io.ReadFull(w.reader, header[:]); err != nil {
		return frame{}, err
	}
	f := frame{stream: binary.BigEndian.Uint32(header[4:8]), kind: header[8], flags: header[9]}
	length := binary.BigEndian.Uint32(header[:4])
	if length > frameBytesMax {
		return f, fmt.Errorf("the peer sent a frame of %d bytes", length)
	}
	f.data = make([]byte, length)
	_, err := io.ReadFull(w.reader, f.data)
	return f, err
}

// receiveResponse reads one frame, which must be a response on the stream.
func (w *wire) receiveResponse(stream uint32) (*ttrpc.Response, error) {
	f, err := w.receive()
	if err != nil {
		return nil, err
	}
	if f.stream != stream {
		return nil, fmt.Errorf("wanted stream %d, got %v", stream, f)
	}
	return f.response()
}

// request gives the envelope of a call of the test service.
func request(method string, message proto.Message) *ttrpc.Request {
	out := &ttrpc.Request{Service: serviceName, Method: method}
	if message != nil {
		out.Payload = encode(message)
	}
	return out
}

func encode(message proto.Message) []byte {
	out, err := proto.Marshal(message)
	if err != nil {
		panic(err) // A message of ours always encodes, unless the program itself is wrong.
	}
	return out
}

func requestFrame(stream uint32, flags byte, envelope *ttrpc.Request) frame {
	return frame{stream: stream, kind: typeRequest, flags: flags, data: encode(envelope)}
}

func echoFrame(stream uint32, payload string) frame {
	return requestFrame(stream, 0, request("Echo", &pb.EchoRequest{Payload: []byte(payload)}))
}

// expectEcho makes a unary call by hand, to see that the connection still works.
func (w *wire) expectEcho(stream uint32) error {
	want := fmt.Sprintf("echo %d", stream)
	if err := w.send(echoFrame(stream, want)); err != nil {
		return fmt.Errorf("the connection no longer takes a call: %w", err)
	}
	response, err := w.receiveResponse(stream)
	if err != nil {
		return fmt.Errorf("the connection no longer answers: %w", err)
	}
	answer := &pb.EchoResponse{}
	if err := proto.Unmarshal(response.Payload, answer); err != nil {
		return err
	}
	if code(response) != 0 || string(answer.Payload) != want {
		return fmt.Errorf("the call after it got code %d, %q", code(response), answer.Payload)
	}
	return nil
}

// expectCode reads a response that must carry the code.
func (w *wire) expectCode(stream uint32, want int32) (string, error) {
	response, err := w.receiveResponse(stream)
	if err != nil {
		return "", err
	}
	if code(response) != want {
		return "", fmt.Errorf("wanted code %d, got %d %q", want, code(response), response.Status.GetMessage())
	}
	return response.Status.GetMessage(), nil
}
