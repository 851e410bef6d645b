package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"time"
)

// ask sends a text to an address and returns what comes until the other side closes,
// or until enough says that this is all.
func ask(addr, text string, enough func(answer string) bool) (answer string, err error) {
	c, err := net.DialTimeout("tcp", addr, startWait)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(startWait)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	var got strings.Builder
	for b := make([]byte, 64<<10); ; {
		n, err := c.Read(b)
		got.Write(b[:n])
		if errors.Is(err, io.EOF) || enough != nil && enough(got.String()) {
			return got.String(), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// output is what a program writes, standard error included.
func output(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
