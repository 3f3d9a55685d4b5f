package main

import (
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDockerfileBuildsTheSame: the same programs, by the same flags, in the same images.
func TestDockerfileBuildsTheSame(t *testing.T) {
	text := strings.ReplaceAll(string(mustRead(t, "Dockerfile")), "\\\n", "")
	text = regexp.MustCompile(` +`).ReplaceAllString(text, " ")
	build := fmt.Sprintf(`%s go build %s -o /out/$p -ldflags "%s" ./cmd/$p`, strings.Join(buildEnv(), " "), strings.Join(buildFlags(), " "), ldflags("$VERSION"))
	if !strings.Contains(text, build) {
		t.Errorf("it does not say %s", build)
	}
	var programs []string
	for _, name := range slices.Sorted(maps.Keys(recipes)) {
		r := recipes[name]
		programs = append(programs, r.programs...)
		stage := "FROM scratch AS " + name + "\nCOPY --from=build /out/" + strings.Join(r.programs, " /out/") + " /\n"
		if r.user != "" {
			stage += "USER " + r.user + "\n"
		}
		stage += `ENTRYPOINT ["/` + r.programs[0] + `"]`
		if !strings.Contains(text+"\n", stage+"\n") {
			t.Errorf("it has no stage like\n%s", stage)
		}
	}
	loop := regexp.MustCompile(`for p in ([a-z -]+); do`).FindStringSubmatch(text)
	if loop == nil {
		t.Fatal("it builds nothing")
	}
	if got := slices.Sorted(slices.Values(strings.Fields(loop[1]))); !slices.Equal(got, slices.Sorted(slices.Values(programs))) {
		t.Errorf("it builds %v, the images hold %v", got, programs)
	}
	if n := strings.Count(text, "\nFROM scratch AS "); n != len(recipes) {
		t.Errorf("%d stages, %d images", n, len(recipes))
	}
}

// TestDockerIgnoresNothingThatIsBuilt: what is not sent to an engine cannot be compiled there.
func TestDockerIgnoresNothingThatIsBuilt(t *testing.T) {
	args := []string{"list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.ImportPath}}{{end}}{{end}}"}
	for _, r := range recipes {
		for _, p := range r.programs {
			args = append(args, "./cmd/"+p)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("list packages: %v", err)
	}
	for line := range strings.Lines(string(mustRead(t, "../../.dockerignore"))) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "*") {
			continue
		}
		if strings.Contains(string(out), "github.com/ambitmesh/ambit/"+line+"/") {
			t.Errorf("%s is ignored, and a program needs it", line)
		}
	}
}
