package inspect

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard answers requests that may not pass, and sets the headers that bind the browser. It
// is before everything else: no request is routed, and no backup read, that it refuses.
type guard struct {
	h    *Handler
	next http.Handler
}

// policy allows the package's own style, script and pictures, and nothing else: no inline
// code, no frame, no other origin.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Security-Policy", policy)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("X-Frame-Options", "DENY")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	head.Set("Cache-Control", "no-store")

	switch {
	case !g.knownHost(r):
		g.h.refuse(w, r, http.StatusMisdirectedRequest, "This host is not known",
			"The request names the host "+quoted(r.Host)+", and the inspector is not known under that name. Open it by the address on which it listens, or add the name to its hosts.")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		head.Set("Allow", "GET, HEAD")
		g.h.refuse(w, r, http.StatusMethodNotAllowed, "The inspector only reads",
			"It answers GET and HEAD, and nothing that would change something.")
	case !navigates(r):
		g.h.refuse(w, r, http.StatusForbidden, "Another site has asked",
			"The request comes from another site, and is not a person who opens a page.")
	case g.h.o.Token != "":
		g.authorize(w, r)
	default:
		g.next.ServeHTTP(w, r)
	}
}

// knownHost reports whether a browser that sends this Host header was told by its user to
// come here, and not by a page whose name suddenly leads to this machine (DNS rebinding).
// An attacker cannot own an IP address of ours, nor localhost, so these need no list. The
// port does not matter, and may be another one behind a tunnel.
func (g *guard) knownHost(r *http.Request) bool {
	host := hostname(r.Host)
	if slices.Contains(g.h.o.Hosts, "*") || slices.ContainsFunc(g.h.o.Hosts, func(known string) bool { return strings.EqualFold(known, host) }) {
		return true
	}
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	local, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return false
	}
	at := local.Addr().Unmap().WithZone("")
	if strings.EqualFold(host, "localhost") {
		return at.IsLoopback()
	}
	named, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	named = named.Unmap().WithZone("")
	return named == at || named.IsLoopback() && at.IsLoopback()
}

// hostname is a Host header without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// navigates reports whether the request is one of the inspector's own pages, or a person
// who opens one. What another site embeds, or fetches by a script, is neither. Browsers
// that do not say are old, and curl.
func navigates(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" && origin != "null" {
		u, err := url.Parse(origin)
		return err == nil && strings.EqualFold(u.Host, r.Host)
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// own reports whether the request comes from a page of the inspector, or from the address
// bar: another site's link may not start what is much work.
func own(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return false
}

const cookieName = "driftdb_inspect"

// authorize lets a request pass that has the token, or the cookie that the token bought.
func (g *guard) authorize(w http.ResponseWriter, r *http.Request) {
	given := r.URL.Query().Get("token")
	if strings.HasPrefix(r.URL.Path, g.h.o.Path+"/static/") { // nothing secret, and the form has a style
		g.next.ServeHTTP(w, r)
		return
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && same(bearer, g.h.o.Token) {
		g.next.ServeHTTP(w, r)
		return
	}
	if given != "" && same(given, g.h.o.Token) {
		http.SetCookie(w, &http.Cookie{
			Name: cookieName, Value: g.h.cookie(), Path: g.h.o.Path + "/", HttpOnly: true,
			SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
		})
		// The address without the token is what the browser remembers.
		query := r.URL.Query()
		query.Del("token")
		clean := url.URL{Path: "/" + strings.TrimLeft(r.URL.Path, "/\\"), RawQuery: query.Encode()}
		http.Redirect(w, r, clean.String(), http.StatusSeeOther)
		return
	}
	if c, err := r.Cookie(cookieName); err == nil && given == "" && same(c.Value, g.h.cookie()) {
		g.next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	g.h.askToken(w, r, given != "")
}

// same compares in a time that tells neither where two texts differ nor how long they are.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// cookie is what the browser keeps instead of the token: from it, nobody learns the token.
func (h *Handler) cookie() string {
	mac := hmac.New(sha256.New, []byte(h.o.Token))
	mac.Write([]byte("the cookie of the inspector"))
	return hex.EncodeToString(mac.Sum(nil))
}
