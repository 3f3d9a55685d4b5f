package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)

func TestPagesLinkToWhatExists(t *testing.T) {
	checked := 0
	for _, page := range tracked(t, "*.md") {
		for _, m := range link.FindAllStringSubmatch(string(read(t, page)), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			checked++
			if _, err := os.Stat(filepath.Join(root(t), filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
	if checked == 0 {
		t.Error("no page links to another")
	}
}
