package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bumpless/appliance/api"
	"bumpless/appliance/config"
	"bumpless/appliance/pki"
	"bumpless/migrate/link"
	"bumpless/migrate/policy"
)

// installed is a program with a site whose daemon is a fakeDaemon.
type installed struct {
	t    *testing.T
	dir  string
	site string // the site file
	fake *fakeDaemon

	ran string // what Run was asked for
	log *slog.Logger
}

// hostBackend is there because a server needs one; nobody asks it here.
type hostBackend struct{ api.HostBackend }

func install(t *testing.T) *installed {
	t.Helper()
	t.Setenv("BUMPLESS_SITE", "")
	// A socket's path is short: the test's own directory may be too deep.
	dir, err := os.MkdirTemp("", "bl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	i := &installed{t: t, dir: dir, site: dir + "/site.yaml", fake: &fakeDaemon{plays: aDrain()}}
	a, err := pki.Init(dir+"/pki", "north")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Host("host-a", net.IPv4(127, 0, 0, 1)), a.Operator("eva", "OPERATOR"), a.Operator("vic", "VIEWER")); err != nil {
		t.Fatal(err)
	}
	server := api.NewServer("host-a", i.fake, hostBackend{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(func() { server.Close() })
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tlsConfig, err := link.Files{Cert: dir + "/pki/host-a.crt", Key: dir + "/pki/host-a.key", CA: dir + "/pki/ca.crt"}.Load()
	if err != nil {
		t.Fatal(err)
	}
	local, err := net.Listen("unix", dir+"/api.sock")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(tcp, tlsConfig)
	go server.Serve(local, nil)
	i.write(fmt.Sprintf("version: 1\nsite: north\nrun_dir: %[1]s\npki_dir: %[1]s/pki\nhosts:\n"+
		"  - {name: host-a, role: witness, lan_a: 127.0.0.1, api_port: %[2]d}\n", dir, tcp.Addr().(*net.TCPAddr).Port))
	return i
}

func (i *installed) write(text string) {
	i.t.Helper()
	if err := os.WriteFile(i.site, []byte(text), 0o600); err != nil {
		i.t.Fatal(err)
	}
}

// enter runs a command line; $D in it is the directory.
func (i *installed) enter(line string) (out, errs string, status int) {
	var o, e bytes.Buffer
	p := Program{Version: "1.2.3", In: strings.NewReader("config\n"), Out: &o, Err: &e,
		Run: func(_ context.Context, site config.Site, host string, log *slog.Logger) error {
			i.ran, i.log = site.Site+" "+host, log
			return nil
		},
		Gateway: func(role string, in io.Reader, out io.Writer) int {
			b, _ := io.ReadAll(in) // a strings.Reader does not fail
			fmt.Fprintf(out, "%s %s", role, b)
			return 1
		},
		WaitingPeriod: func(s config.Site) (string, error) {
			if s.Timing.ResetTimeMs > 5000 {
				return "", errors.New("reset time is too long")
			}
			return "waiting period 10s", nil
		},
		WaitingPeriodS: func(config.Site) float64 { return 10.01 },
		Socket:         func(s config.Site) string { return filepath.Join(s.RunDir, "api.sock") },
	}
	status = p.Main(context.Background(), strings.Fields(strings.ReplaceAll(line, "$D", i.dir)))
	return o.String(), e.String(), status
}

func TestTheTargetIsChosenAsTheHelpSays(t *testing.T) {
	i := install(t)
	const tlsOK = "--host host-a --cert $D/pki/eva.crt"
	for _, c := range []struct{ line, want string }{
		{"drain host-a --no-wait --socket $D/api.sock", "drain ENGINEER"},
		{"drain host-a --no-wait --site $D/site.yaml", "drain ENGINEER"},
		{"drain host-a --no-wait --site $D/site.yaml " + tlsOK, "drain OPERATOR"},
		{"drain host-a --no-wait --site $D/site.yaml --key $D/pki/eva.key --ca $D/pki/ca.crt " + tlsOK, "drain OPERATOR"},
	} {
		i.fake.asked = nil
		if _, errs, status := i.enter(c.line); status != Done || !strings.HasPrefix(i.fake.last(), c.want) {
			t.Errorf("%q = %d %q, asked %q; want %q", c.line, status, errs, i.fake.last(), c.want)
		}
	}
	t.Setenv("BUMPLESS_SITE", i.site)
	if out, errs, status := i.enter("guests"); status != Done || !strings.Contains(out, "main1") {
		t.Errorf("guests with BUMPLESS_SITE = %d %q %q; want the guests", status, out, errs)
	}
}

func TestATargetThatCannotBeReachedSaysWhatWouldHelp(t *testing.T) {
	i := install(t)
	i.strangers()
	for _, c := range []struct {
		line, want string
		status     int
	}{
		{"status --site $D/none.yaml", "none.yaml: no such file", Failed},
		{"status --site $D/site.yaml --host host-x --cert $D/pki/eva.crt", `no host "host-x"`, Misused},
		{"status --site $D/site.yaml --host host-a", "say --cert FILE", Misused},
		{"status --site $D/site.yaml --host host-a --cert $D/pki/none.crt", "none.crt", Failed},
		{"status --site $D/site.yaml --host host-a --cert $D/pki/none.crt", "load the certificate $D/pki/none.crt and its key", Failed},
		{"status --site $D/site.yaml --host host-a --cert $D/pki/eva.key", "--cert wants the .crt", Misused},
		{"status --socket $D/none.sock", "the daemon of this host does not answer ($D/none.sock): systemctl status bumpless; or ask another: --host NAME --cert FILE\n", Failed},
		{"status --socket $D/stale.sock", "the daemon of this host does not answer ($D/stale.sock): systemctl status bumpless", Failed},
		{"status --socket $D/api.sock --site $D/site.yaml --host host-a --cert $D/pki/eva.crt", "say --socket or --host, not both", Misused},
		{"status --site $D/site.yaml --host host-a --cert $D/other/eve.crt --ca $D/pki/ca.crt", "host-a does not take $D/other/eve.crt: it is not of this site's authority\n", Failed},
		{"status --site $D/site.yaml --host host-a --cert $D/pki/eva.crt --ca $D/other/ca.crt", "host-a's certificate is not of $D/other/ca.crt: is --ca this site's?\n", Failed},
		{"drain host-a --site $D/site.yaml --host host-a --cert $D/pki/vic.crt", "vic has the role VIEWER; drain needs one of [OPERATOR ENGINEER]", Refused},
	} {
		want := strings.ReplaceAll(c.want, "$D", i.dir)
		if out, errs, status := i.enter(c.line); status != c.status || !strings.Contains(errs, want) || out != "" {
			t.Errorf("%q = %d, %q, %q; want %d with %q", c.line, status, out, errs, c.status, want)
		}
	}
	if err := os.Remove(i.dir + "/api.sock"); err != nil {
		t.Fatal(err)
	}
	if _, errs, status := i.enter("status --site $D/site.yaml"); status != Failed || !strings.Contains(errs, "or ask another: --host NAME") {
		t.Errorf("status without a daemon = %d %q; want the way to another", status, errs)
	}
}

// strangers are a certificate of another site, in other, and the socket that a
// daemon left behind, stale.sock.
func (i *installed) strangers() {
	i.t.Helper()
	a, err := pki.Init(i.dir+"/other", "south")
	if err == nil {
		err = a.Operator("eve", "ENGINEER")
	}
	if err != nil {
		i.t.Fatal(err)
	}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: i.dir + "/stale.sock", Net: "unix"})
	if err != nil {
		i.t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
}

// The signals that would end the program are caught for all verbs.
func TestASiteFileThatCannotBeReadDoesNotHoldTheCommand(t *testing.T) {
	i := install(t)
	fifo := i.dir + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"status", "check", "run"} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		interrupted, stop := context.WithCancel(context.Background())
		context.AfterFunc(ctx, stop)
		var out, errs bytes.Buffer
		status := make(chan int, 1)
		go func() { status <- Program{Out: &out, Err: &errs}.Main(interrupted, []string{verb, "--site", fifo}) }()
		select {
		case got := <-status:
			if got != Failed || errs.String() != "interrupted\n" {
				t.Errorf("%s = %d %q; want 1, interrupted", verb, got, &errs)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s still waits for its site file", verb)
		}
		cancel()
	}
	// Whoever still waits sees the other end come and go.
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestRunHandsOverSiteHostAndLog(t *testing.T) {
	i := install(t)
	_, errs, status := i.enter("run --site $D/site.yaml --host host-a --log-level debug --log-format json")
	if status != Done || i.ran != "north host-a" {
		t.Fatalf("run = %d %q, ran %q; want north host-a", status, errs, i.ran)
	}
	if !i.log.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("--log-level debug: debug is not logged")
	}
	if _, ok := i.log.Handler().(*slog.JSONHandler); !ok {
		t.Errorf("--log-format json: the log is a %T", i.log.Handler())
	}
	for line, want := range map[string]string{
		"run --site $D/site.yaml":                                "say --host NAME, one of host-a",
		"run --site $D/site.yaml --host b":                       "say --host NAME, one of host-a",
		"run --site $D/site.yaml --host host-a --log-level loud": "want debug, info, warn or error",
		"run --site $D/site.yaml --host host-a --log-format xml": "want text or json",
	} {
		if _, errs, status := i.enter(line); status != Misused || !strings.Contains(errs, want) {
			t.Errorf("%q = %d %q; want 2 and %q", line, status, errs, want)
		}
	}
}

func TestAGatewaysExitStatusIsItsOwn(t *testing.T) {
	i := install(t)
	if out, errs, status := i.enter("gateway source"); out != "source config\n" || errs != "" || status != 1 {
		t.Errorf("gateway source = %d %q %q; want what the gateway wrote, and 1", status, out, errs)
	}
	if _, _, status := i.enter("gateway sideways"); status != Misused {
		t.Errorf("gateway sideways = %d; want %d", status, Misused)
	}
}

func TestCheckTellsTheWaitingPeriodOrTheFault(t *testing.T) {
	i := install(t)
	if out, errs, status := i.enter("check --site $D/site.yaml"); status != Done || !strings.Contains(out, "waiting period 10s") {
		t.Errorf("check = %d %q %q; want the waiting period", status, out, errs)
	}
	if out, _, _ := i.enter("check --json --site $D/site.yaml"); !strings.Contains(out, `"waiting_period_s":10.01`) {
		t.Errorf("check --json = %q; want the waiting period as a number", out)
	}
	i.write("version: 1\nsite: north\ntiming: {reset_time_ms: 6000}\nhosts: [{name: a, role: witness, lan_a: 127.0.0.1}]\n")
	if _, errs, status := i.enter("check --site $D/site.yaml"); status != Failed || !strings.Contains(errs, "reset time is too long") {
		t.Errorf("check of bad timing = %d %q; want the inequality", status, errs)
	}
	i.write("version: 1\nsite: north\nlocation: here\n")
	if out, _, status := i.enter("check --json --site $D/site.yaml"); status != Failed || !strings.Contains(out, `site.yaml:3:1`) {
		t.Errorf("check of an unknown field = %d %q; want its line and column", status, out)
	}
}

func TestPKIMakesCertificatesThatWork(t *testing.T) {
	i := install(t)
	for _, line := range []string{"pki init $D/new south", "pki host $D/new host-c 10.0.0.1 10.0.0.2", "pki operator $D/new ann ENGINEER"} {
		if out, errs, status := i.enter(line); status != Done || !strings.Contains(out, "made ") {
			t.Errorf("%q = %d %q %q; want done", line, status, out, errs)
		}
	}
	for _, name := range []string{"host-c", "ann"} {
		if _, err := (link.Files{Cert: i.dir + "/new/" + name + ".crt", Key: i.dir + "/new/" + name + ".key", CA: i.dir + "/new/ca.crt"}).Load(); err != nil {
			t.Errorf("the certificate of %s: %v", name, err)
		}
	}
	for _, c := range []struct {
		line, want string
		status     int
	}{
		{"pki init $D/new south", "/new holds an authority already; a new one makes every certificate of the site invalid: use another folder\n", Failed},
		{"pki init $D/next " + strings.Repeat("s", 65), "want a name of 1 to 64 bytes", Failed},
		{"pki host $D/none host-d", "no such file or directory: `bumpless pki init $D/none SITE` first\n", Failed},
		{"pki host $D/new Host_D", `"Host_D": want 1 to 32 of a-z, 0-9 and -, not at an end`, Failed},
		{"pki host $D/new host-c", "is not replaced", Failed},
		{"pki foo", "no command \"foo\"; there are host, init, operator (see `bumpless help pki`)", Misused},
		{"help pki foo", "there are host, init, operator (see `bumpless help pki`)", Misused},
		{"pki operator $D/new bob BOSS", `no role "BOSS"`, Failed},
		{"pki host $D/new host-d 10.0.0.256", "not an IP address", Misused},
		{"pki host $D/new", "say `bumpless pki host DIR NAME [IP..]`", Misused},
		{"pki hots $D/new x", "did you mean host", Misused},
	} {
		want := strings.ReplaceAll(c.want, "$D", i.dir)
		if _, errs, status := i.enter(c.line); status != c.status || !strings.Contains(errs, want) {
			t.Errorf("%q = %d %q; want %d with %q", c.line, status, errs, c.status, want)
		}
	}
}

func TestVersionAndTopics(t *testing.T) {
	i := install(t)
	if out, _, _ := i.enter("version"); out != "bumpless 1.2.3\n" {
		t.Errorf("version = %q", out)
	}
	out, _, _ := i.enter("version --json")
	var v struct{ Release string }
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Release != "1.2.3" {
		t.Errorf("version --json = %q, %v", out, err)
	}
	out, _, _ = i.enter("help policies")
	for _, name := range policy.Names() {
		if !strings.Contains(out, "  "+name+" ") || rules[name] == "" {
			t.Errorf("help policies = %q; want a rule for %s", out, name)
		}
	}
	for _, topic := range topicNames() {
		if out, _, status := i.enter("help " + topic); status != Done || len(out) < 100 {
			t.Errorf("help %s = %d %q", topic, status, out)
		}
	}
}

// Each kind that the program prints is in the help, and in the package's comment.
func TestEveryKindOfJSONIsWrittenDown(t *testing.T) {
	comment, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:\.answer|\.Emit)\([a-z."]+, "([a-z]+)"`).FindAllStringSubmatch(string(text), -1) {
			found++
			if !regexp.MustCompile(`\b` + m[1] + `\b`).MatchString(jsonHelp) {
				t.Errorf("help json does not name the kind %s of %s", m[1], path)
			}
			if !regexp.MustCompile(`(?m)^//\t` + m[1] + ` `).Match(comment) {
				t.Errorf("doc.go does not name the kind %s of %s", m[1], path)
			}
		}
	}
	if found < 10 {
		t.Errorf("%d kinds were found", found)
	}
}

func TestCompletionScriptsAreWhatTheShellTakes(t *testing.T) {
	i := install(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		out, errs, status := i.enter("completion " + shell)
		if status != Done || !strings.Contains(out, "__complete") || !strings.Contains(out, "\n\t") && !strings.Contains(out, "\n    ") {
			t.Errorf("completion %s = %d, %d bytes, %q; want a script", shell, status, len(out), errs)
		}
		if shell != "bash" {
			continue
		}
		check := exec.Command("bash", "-n")
		check.Stdin = strings.NewReader(out)
		if text, err := check.CombinedOutput(); err != nil {
			t.Errorf("bash does not take its script: %v\n%s", err, text)
		}
	}
	if out, _, _ := i.enter("__complete status --site $D/site.yaml --host h"); !strings.HasPrefix(out, "host-a\n") {
		t.Errorf("complete --host = %q; want host-a", out)
	}
	if _, errs, status := i.enter("completion csh"); status != Misused || !strings.Contains(errs, "bash, zsh or fish") {
		t.Errorf("completion csh = %d %q", status, errs)
	}
}
