package fault_test

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// attackRows are the results of attacks.
type attackRows []attackRow

// An attackRow is the result of one attack.
type attackRow struct {
	attack       costAttack
	peak         int // most resident memory in bytes
	calm, stormy quality
}

// markdown returns the table of docs/security.md.
func (rows attackRows) markdown() string {
	var b strings.Builder
	b.WriteString("\n| attack | most memory | publish p99, before | under attack | connect p99, before | under attack | `/livez`, longest |\n")
	b.WriteString("|---" + strings.Repeat("|--:", 6) + "|\n")
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond)) }
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.attack.name, megabytes(float64(r.peak)),
			ms(r.calm.publish.p99()), ms(r.stormy.publish.p99()),
			ms(r.calm.connect.p99()), ms(r.stormy.connect.p99()), ms(r.stormy.livez.max()))
	}
	return b.String() + "\n"
}

// publish prints the table, and writes it to the file that -fault.report names.
func (rows attackRows) publish() error {
	if len(rows) == 0 {
		return nil
	}
	text := rows.markdown()
	fmt.Print(text)
	if *reportTo == "" {
		return nil
	}
	return os.WriteFile(*reportTo+".attacks.md", []byte(text), 0o644)
}
