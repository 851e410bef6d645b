package streams

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func TestParseData(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	tests := map[string]struct {
		data string
		max  int
		want string
		err  error
	}{
		"an object":           {" {\"a\" : [1, 2],\n\t\"b\": null } ", 100, `{"a":[1,2],"b":null}`, nil},
		"a number as it was":  {"1.50e+300", 100, "1.50e+300", nil},
		"a string as it was":  {`"\u00e9 \/ é <&>"`, 100, `"\u00e9 \/ é <&>"`, nil},
		"a repeated name":     {`{"a":1,"a":2}`, 100, `{"a":1,"a":2}`, nil},
		"line separators":     {"\"\u2028\"", 100, "\"\u2028\"", nil},
		"as big as allowed":   {`"345678"`, 8, `"345678"`, nil},
		"one byte too big":    {`"3456789"`, 8, "", ErrTooBig},
		"big only by spaces":  {`[          ]`, 2, `[]`, nil},
		"as deep as allowed":  {nested(maxDepth), 1000, nested(maxDepth), nil},
		"one level too deep":  {nested(maxDepth + 1), 1000, "", ErrTooDeep},
		"brackets in strings": {`"` + strings.Repeat(`[\"{`, 100) + `"`, 1000, `"` + strings.Repeat(`[\"{`, 100) + `"`, nil},
		"far too deep":        {strings.Repeat(`{"a":`, 1<<20), 10, "", ErrTooDeep},
		"nothing":             {"", 100, "", ErrData},
		"spaces":              {"  ", 100, "", ErrData},
		"two values":          {"1 2", 100, "", ErrData},
		"a bare word":         {"hello", 100, "", ErrData},
		"cut short":           {`{"a":`, 100, "", ErrData},
		"a raw line break":    {"\"a\nb\"", 100, "", ErrData},
		"not UTF-8":           {"\"\xff\"", 100, "", ErrData},
		"half a surrogate":    {"\"\xed\xa0\x80\"", 100, "", ErrData},
		"a byte order mark":   {"\ufeff1", 100, "", ErrData},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseData([]byte(tc.data), tc.max)
			if !errors.Is(err, tc.err) || string(got) != tc.want {
				t.Errorf("ParseData = %q, %v; want %q, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

// The result is one JSON value on one line, has the same meaning as the input, and parses to
// itself.
func FuzzParseData(f *testing.F) {
	for _, seed := range []string{
		"null", `{"a":[1,2.5e3,"x"]}`, " [ ] ", `"\u2028\\\""`, "\"\u2028\"", `{"a":1,"a":2}`, "[[[[[[", `{"`, "1 2", "\xff", "-0", `"[{"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 1 << 12
		before := bytes.Clone(data)
		got, err := ParseData(data, most)
		if !bytes.Equal(before, data) {
			t.Fatal("ParseData changed its argument")
		}
		if err != nil {
			if !errors.Is(err, ErrData) && !errors.Is(err, ErrTooBig) && !errors.Is(err, ErrTooDeep) {
				t.Errorf("ParseData(%q): %v", data, err)
			}
			return
		}
		if !json.Valid(got) || !utf8.Valid(got) || len(got) > most || bytes.ContainsAny(got, "\r\n") {
			t.Errorf("ParseData(%q) = %q", data, got)
		}
		if again, err := ParseData(got, most); err != nil || !bytes.Equal(again, got) {
			t.Errorf("ParseData(%q) = %q, %v; want it unchanged", got, again, err)
		}
		if a, b := decoded(t, data), decoded(t, got); !bytes.Equal(a, b) {
			t.Errorf("ParseData(%q) = %q has another meaning", data, got)
		}
	})
}

// decoded returns data in a canonical form: two texts of the same value give the same bytes.
func decoded(t *testing.T, data []byte) []byte {
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("decode %q: %v", data, err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The fingerprint depends on type and data, which it keeps apart, and on nothing else.
func TestFingerprint(t *testing.T) {
	d := Draft{Room: "a", Type: "t", Data: []byte(`"x"`), Key: "k"}
	same := Draft{Room: "b", Type: "t", Data: []byte(`"x"`), Retention: Retention{Events: 5}}
	if d.Fingerprint() != same.Fingerprint() {
		t.Error("the same content has two fingerprints")
	}
	for _, other := range []Draft{
		{Type: "t2", Data: d.Data}, {Type: "t", Data: []byte(`"y"`)}, {Type: `t"x"`}, {Data: []byte(`t"x"`)},
	} {
		if d.Fingerprint() == other.Fingerprint() {
			t.Errorf("type %q data %s has the fingerprint of type %q data %s", other.Type, other.Data, d.Type, d.Data)
		}
	}
}

// Concurrent callers of Encoded share one result.
func TestEncodedIsShared(t *testing.T) {
	e := &Event{Data: []byte("1")}
	got := make([][]byte, 16)
	var running sync.WaitGroup
	for i := range got {
		running.Go(func() {
			got[i] = e.Encoded(SSERoom, func(e *Event) []byte { return bytes.Clone(e.Data) })
		})
	}
	running.Wait()
	for i := range got {
		if &got[i][0] != &got[0][0] {
			t.Fatalf("form %d is a copy", i)
		}
	}
	other := e.Encoded(WebSocket, func(*Event) []byte { return []byte("2") })
	if string(other) != "2" || string(got[0]) != "1" {
		t.Errorf("two encodings returned %q and %q, want 1 and 2", got[0], other)
	}
}

// The result takes hardly more memory than its bytes, however much white space the text had.
func TestParseDataKeepsNoWhiteSpace(t *testing.T) {
	for _, text := range []string{
		"1", "[" + strings.Repeat(" ", 1<<20) + "]", `"` + strings.Repeat("x", 60<<10) + `"`,
		`["` + strings.Repeat("x", 1000) + `"` + strings.Repeat(" ", 1000) + "]", "[" + strings.Repeat(" 1,", 20<<10) + "1]",
	} {
		got, err := ParseData([]byte(text), DefaultMaxData)
		if err != nil {
			t.Fatal(err)
		}
		if most := len(got) + len(got)/4 + spareBytes; cap(got) > most {
			t.Errorf("%d bytes of %d take %d, want at most %d", len(got), len(text), cap(got), most)
		}
	}
}
