//go:build linux

package edge

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A message is an invalid WebSocket message.
type message struct {
	text string
	code string
}

// roomNames are invalid room names, as JSON.
func roomNames() []string {
	return []string{
		`"a*"`, `"*"`, `".."`, `"."`, `""`, `"a/b"`, `"../../etc"`, `"\u0000"`, `"a\u0000"`, `"%00"`, `"a\nb"`, `"{lobby}"`,
		`"$sys"`, `"\ud83d\ude00"`, `"\ud800"`, `"` + strings.Repeat("a", 201) + `"`,
	}
}

// wrongMessages returns invalid messages of each op.
func wrongMessages() (list []message) {
	for op, rest := range map[string]string{
		"subscribe": ``, "unsubscribe": ``, "publish": `,"data":1`,
	} {
		for _, name := range roomNames() {
			list = append(list, message{fmt.Sprintf(`{"op":%q,"room":%s%s,"ref":1}`, op, name, rest), "room-invalid"})
		}
		list = append(list,
			message{fmt.Sprintf(`{"op":%q%s,"ref":1}`, op, rest), "message-invalid"},
			message{fmt.Sprintf(`{"op":%q,"room":7%s,"ref":1}`, op, rest), "message-invalid"},
			message{fmt.Sprintf(`{"op":%q,"room":null%s,"ref":1}`, op, rest), "message-invalid"},
		)
	}
	for _, op := range []string{"subscribe", "unsubscribe", "publish", "ping"} {
		good := fmt.Sprintf(`{"op":%q,"room":"nowhere","data":1,"ref":1}`, op)
		list = append(list,
			message{good[:len(good)-1], "message-invalid"},
			message{good + good, "message-invalid"},
			message{"[" + good + "]", "message-invalid"},
			message{strings.Replace(good, "nowhere", "\xff", 1), "message-invalid"},
			message{strings.Replace(good, "{", `{"op":"ping",`, 1), "message-invalid"},
			message{strings.Replace(good, "{", `{"OP":"ping",`, 1), "message-invalid"},
			message{strings.Replace(good, `"ref":1`, `"ref":[1]`, 1), "message-invalid"},
			message{strings.Replace(good, `"data":1`, `"data":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000), 1), "message-invalid"},
		)
	}
	publish := func(rest, code string) message {
		return message{`{"op":"publish","room":"lobby","ref":1,` + rest + `}`, code}
	}
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	return append(list,
		message{"", "message-invalid"},
		message{"null", "message-invalid"},
		message{`{"op":"PING","ref":1}`, "message-invalid"},
		message{`{"op":"subscribe","room":"lobby","last":0,"ref":1}`, "last-invalid"},
		message{`{"op":"subscribe","room":"lobby","last":1001,"ref":1}`, "last-invalid"},
		message{`{"op":"subscribe","room":"lobby","since":7,"ref":1}`, "message-invalid"},
		message{`{"op":"unsubscribe","room":"lobby","ref":1}`, "not-subscribed"},
		publish(`"data":"`+strings.Repeat("x", 64<<10)+`"`, "data-too-large"),
		publish(`"data":`+deep, "data-too-deep"),
		publish(`"data":1,"type":"a*"`, "type-invalid"),
		publish(`"data":1,"type":"tidemark.gap"`, "type-invalid"),
		publish(`"data":1,"type":7`, "message-invalid"),
		publish(`"data":1,"key":""`, "key-invalid"),
		publish(`"data":1,"key":"\u0000"`, "key-invalid"),
		publish(`"data":1,"key":"`+strings.Repeat("k", 256)+`"`, "key-invalid"),
		publish(`"data":1,"ttl":5`, "message-invalid"),
	)
}

// checkMessages sends all of them on one socket. The server must answer each with one error
// and then handle the next message as usual. A frame that breaks the rules ends its socket.
func checkMessages(t *testing.T, c *caller) {
	t.Helper()
	l, err := c.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer l.reset()
	if err := l.openSocket(); err != nil {
		t.Fatal(err)
	}
	for i, m := range wrongMessages() {
		if err := l.checkMessage(m, i); err != nil {
			t.Errorf("%.80s: %v", m.text, err)
		}
	}
	for _, v := range frameExchanges() {
		l, err := c.dial()
		if err != nil {
			t.Fatal(err)
		}
		if err := v.play(l, "lobby"); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		l.reset()
	}
}

// checkMessage sends a message and then a ping: each must get one answer.
func (l *conn) checkMessage(m message, number int) error {
	if err := l.sendText(m.text); err != nil {
		return err
	}
	if err := l.sendText(fmt.Sprintf(`{"op":"ping","ref":"p%d"}`, number)); err != nil {
		return err
	}
	_, text, err := l.readFrame()
	if err != nil {
		return err
	}
	var answer struct{ Op, Code, Detail string }
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("answered %q: %w", text, err)
	}
	if answer.Op != "error" || answer.Code != m.code || answer.Detail == "" {
		return fmt.Errorf("answered %s, want the code %s", text, m.code)
	}
	_, pong, err := l.readFrame()
	if err == nil && string(pong) != fmt.Sprintf(`{"op":"pong","ref":"p%d"}`, number) {
		err = fmt.Errorf("followed by %s", pong)
	}
	return err
}
