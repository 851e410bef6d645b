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

// exchange sends a text to an address. It returns the answer once the other side closes
// or complete returns true.
func exchange(addr, text string, complete func(answer string) bool) (answer string, err error) {
	c, err := net.DialTimeout("tcp", addr, startTimeout)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	var got strings.Builder
	for b := make([]byte, 64<<10); ; {
		n, err := c.Read(b)
		got.Write(b[:n])
		if errors.Is(err, io.EOF) || complete != nil && complete(got.String()) {
			return got.String(), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// commandOutput returns the output of a program, including standard error.
func commandOutput(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
