package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// transcript is one recorded session, as it is written to a file. The golden folder's README says
// what each field means to whoever replays it.
type transcript struct {
	Format   int             `json:"format"`
	Name     string          `json:"name"`
	About    string          `json:"about"`
	Recorded recordedWith    `json:"recorded"`
	Calls    []recordedCall  `json:"calls,omitempty"`
	Frames   []recordedFrame `json:"frames"`
	// ClosedBy is who ended the connection.
	ClosedBy string `json:"closedBy"`
}

type recordedWith struct {
	Client string `json:"client"`
	Server string `json:"server"`
}

// recordedCall is what the recorded client was asked to do, and what it got.
type recordedCall struct {
	Method        string              `json:"method"`
	Service       string              `json:"service"`
	Kind          string              `json:"kind"`
	Metadata      map[string][]string `json:"metadata,omitempty"`
	TimeoutMillis int64               `json:"timeoutMillis,omitempty"`
	// HalfCloseFirst says that a bidi client sent everything and closed before it read anything.
	HalfCloseFirst bool              `json:"halfCloseFirst,omitempty"`
	Requests       []json.RawMessage `json:"requests"`
	Responses      []json.RawMessage `json:"responses"`
	// Status is in the JSON form of google.rpc.Status; absent when the call succeeded.
	Status json.RawMessage `json:"status,omitempty"`
}

type recordedFrame struct {
	From   string `json:"from"`
	Header string `json:"header"`
	Body   string `json:"body"`
	// Fill stands for a body that is too long for a file: `count` times the byte.
	Fill *recordedFill `json:"fill,omitempty"`
	// Varies says why the body is not the same in each recording.
	Varies string `json:"varies,omitempty"`
	Text   string `json:"text"`
}

type recordedFill struct {
	Byte  byte `json:"byte"`
	Count int  `json:"count"`
}

// tape cuts the bytes of both directions into frames, in the order in which each became whole.
type tape struct {
	mutex   sync.Mutex
	partial map[string][]byte
	frames  []recordedFrame
	ended   string
	failed  error
}

func newTape() *tape {
	return &tape{partial: map[string][]byte{}}
}

const fillBytesMin = 1 << 16

func (t *tape) add(from string, more []byte) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	rest := append(t.partial[from], more...)
	for len(rest) >= frameHeaderBytes {
		whole := frameHeaderBytes + int(binary.BigEndian.Uint32(rest[:4]))
		if len(rest) < whole {
			break
		}
		frame, err := recorded(from, rest[:whole])
		t.failed = errors.Join(t.failed, err)
		t.frames = append(t.frames, frame)
		rest = rest[whole:]
	}
	t.partial[from] = bytes.Clone(rest)
}

// end notes who ended the connection first.
func (t *tape) end(from string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.ended == "" {
		t.ended = from
	}
}

func (t *tape) finish(into *transcript) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for from, rest := range t.partial {
		if len(rest) > 0 {
			return fmt.Errorf("%s: the %s's bytes end inside a frame", into.Name, from)
		}
	}
	into.Frames = t.frames
	into.ClosedBy = t.ended
	return t.failed
}

func recorded(from string, whole []byte) (recordedFrame, error) {
	f := frame{stream: binary.BigEndian.Uint32(whole[4:8]), kind: whole[8], flags: whole[9], data: whole[frameHeaderBytes:]}
	out := recordedFrame{From: from, Header: hex.EncodeToString(whole[:frameHeaderBytes]), Text: describe(f)}
	if len(f.data) < fillBytesMin {
		out.Body = hex.EncodeToString(f.data)
		return out, nil
	}
	if len(bytes.Trim(f.data, string(f.data[:1]))) > 0 {
		return out, fmt.Errorf("a body of %d bytes that are not all the same does not fit a transcript", len(f.data))
	}
	out.Fill = &recordedFill{Byte: f.data[0], Count: len(f.data)}
	return out, nil
}

// describe is for whoever reads the file; nothing may depend on it.
func describe(f frame) string {
	names := map[byte]string{typeRequest: "Request", typeResponse: "Response", typeData: "Data"}
	name, ok := names[f.kind]
	if !ok {
		name = fmt.Sprintf("type %d", f.kind)
	}
	text := fmt.Sprintf("%s %02x on %d", name, f.flags, f.stream)
	request, response := &ttrpc.Request{}, &ttrpc.Response{}
	switch {
	case f.kind == typeRequest && proto.Unmarshal(f.data, request) == nil:
		text += fmt.Sprintf(": %s/%s, %d bytes of payload", request.Service, request.Method, len(request.Payload))
	case f.kind == typeResponse && proto.Unmarshal(f.data, response) == nil && code(response) != 0:
		text += fmt.Sprintf(": code %d", code(response))
	case f.kind == typeResponse && proto.Unmarshal(f.data, response) == nil:
		text += fmt.Sprintf(": %d bytes of payload", len(response.Payload))
	default:
		text += fmt.Sprintf(": %d bytes", len(f.data))
	}
	return text
}

// tapedConn is the client's end of a connection, with everything on the tape. While it is held, it
// gives the client nothing to read, so that the order of the frames does not hang on a race.
type tapedConn struct {
	net.Conn
	tape *tape
	hold sync.RWMutex
}

// Write notes before it writes, else the answer could be noted first.
func (c *tapedConn) Write(out []byte) (int, error) {
	c.tape.add("client", out)
	return c.Conn.Write(out)
}

func (c *tapedConn) Read(into []byte) (int, error) {
	count, err := c.Conn.Read(into)
	c.hold.RLock()
	defer c.hold.RUnlock()
	c.tape.add("server", into[:count])
	if err != nil {
		c.tape.end("server")
	}
	return count, err
}

func (c *tapedConn) Close() error {
	c.tape.end("client")
	return c.Conn.Close()
}

// asJSON is protojson with its spaces taken out, which it varies from build to build on purpose.
func asJSON(message proto.Message) (json.RawMessage, error) {
	loose, err := protojson.Marshal(message)
	if err != nil {
		return nil, err
	}
	var tight bytes.Buffer
	err = json.Compact(&tight, loose)
	return tight.Bytes(), err
}

func (t *transcript) encode() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(t)
	return out.Bytes(), err
}

func (t *transcript) write(folder string) error {
	out, err := t.encode()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, t.Name+".json"), out, 0o644)
}

// compare says how a new recording differs from the committed one, where it may not.
func (t *transcript) compare(folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, t.Name+".json"))
	if err != nil {
		return err
	}
	committed := &transcript{}
	if err := json.Unmarshal(text, committed); err != nil {
		return err
	}
	if len(committed.Frames) != len(t.Frames) || committed.ClosedBy != t.ClosedBy {
		return fmt.Errorf("%s: %d frames, closed by the %s; committed: %d, the %s", t.Name,
			len(t.Frames), t.ClosedBy, len(committed.Frames), committed.ClosedBy)
	}
	for index, now := range t.Frames {
		then := committed.Frames[index]
		if then.Varies != "" && now.From == then.From && now.Header[8:] == then.Header[8:] {
			continue
		}
		if now.From != then.From || now.Header != then.Header || now.Body != then.Body {
			return fmt.Errorf("%s: frame %d is %s; committed: %s", t.Name, index, now.Text, then.Text)
		}
	}
	return nil
}

// goPeer names this program as a recorded end, with the versions that decide what it does.
func goPeer() string {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/containerd/ttrpc" {
				version = module.Version
			}
		}
	}
	return fmt.Sprintf("containerd/ttrpc %s, %s", version, runtime.Version())
}
