package prom

import "testing"

func TestSum(t *testing.T) {
	page := []byte("# TYPE a counter\na_total{x=\"1\",y=\"two words\"} 3\na_total{x=\"1\",y=\"b\"} 4\na_total{x=\"2\",y=\"b\"} 8\nab_total{x=\"1\"} 16\na_total 32\n")
	for _, c := range []struct {
		parts []string
		want  int
	}{{nil, 15}, {[]string{`x="1"`}, 7}, {[]string{`x="1"`, `y="two`}, 3}, {[]string{`x="3"`}, 0}} {
		if got, err := Sum(page, "a_total", c.parts...); err != nil || got != c.want {
			t.Errorf("%q: %d, %v; want %d", c.parts, got, err, c.want)
		}
	}
	if _, err := Sum([]byte("a{} x\n"), "a"); err == nil {
		t.Error("a word is taken for a number")
	}
}
