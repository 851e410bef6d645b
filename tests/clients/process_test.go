package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/sse"
)

// run starts a command and passes each line of its output to line until the command or ctx
// ends. The error contains the command's standard error.
func run(ctx context.Context, line func(string), name string, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second // for a child that keeps the pipe open
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line(lines.Text())
	}
	err = cmd.Wait()
	if err == nil && lines.Err() == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", name, errors.Join(err, lines.Err()), strings.TrimSpace(complaint.String()))
}

// followNPM runs a script of the npm directory, which prints the events it receives.
func followNPM(script string) func(context.Context, *testing.T, string, func(heard)) error {
	return func(ctx context.Context, t *testing.T, url string, hear func(heard)) error {
		return run(ctx, func(line string) {
			var h heard
			if err := json.Unmarshal([]byte(line), &h); err != nil {
				t.Errorf("%s printed %q: %v", script, line, err)
			}
			hear(h)
		}, "node", filepath.Join("npm", script), url)
	}
}

// followCurl runs curl, and whenever it ends, runs it again with the last id: a shell loop
// in Go.
func followCurl(ctx context.Context, t *testing.T, url string, hear func(heard)) error {
	lastID := ""
	for ctx.Err() == nil {
		args := []string{"--silent", "--show-error", "--no-buffer", "--header", "Accept: text/event-stream"}
		if lastID != "" {
			args = append(args, "--header", "Last-Event-ID: "+lastID)
		}
		text := "" // of the block; a block without its end is discarded
		_ = run(ctx, func(line string) {
			if line != "" {
				text += line + "\n"
				return
			}
			block, err := sse.Parse([]byte(text))
			if text = ""; err != nil {
				t.Errorf("curl: %v", err)
				return
			}
			if block.ID != nil {
				lastID = string(block.ID)
			}
			if block.Data != nil {
				hear(heard{ID: string(block.ID), Type: typeOr(string(block.Event)), Data: string(block.Data)})
			}
		}, "curl", append(args, url)...)
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond): // avoids a tight loop
		}
	}
	return ctx.Err()
}
