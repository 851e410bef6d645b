//go:build linux

package edge

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// publish publishes one event with the text as its data, and returns the id.
func publish(t testing.TB, s *server, room, text string) string {
	t.Helper()
	id, err := publishTo(s.http, s.URL(), room, text, "")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// publishTo publishes one event through the node or proxy at url, with a key unless it is
// "". After an error the event may or may not be in the log.
func publishTo(client *http.Client, url, room, text, key string) (id string, err error) {
	body, err := json.Marshal(map[string]string{"data": text})
	if err != nil {
		return "", err
	}
	r, err := http.NewRequest("POST", url+"/v1/rooms/"+room+"/events", strings.NewReader(string(body)))
	if err != nil {
		return "", err
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	res, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusOK {
		return "", &refusal{res.StatusCode, string(answer)}
	}
	var published struct{ ID string }
	err = json.Unmarshal(answer, &published)
	return published.ID, err
}

// A refusal is an answer that does not acknowledge the event.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.status, r.text) }
