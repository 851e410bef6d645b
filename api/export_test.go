package api

import "github.com/tidemark/tidemark/api/internal/problem"

// Routes returns the routes of s, each as "METHOD /path".
func Routes(s *Server) []string {
	var routes []string
	for _, r := range s.echo.Routes() {
		routes = append(routes, r.Method+" "+r.Path)
	}
	return routes
}

// A Code is one kind of problem.
type Code struct {
	Code, Title string
	Status      int
}

// Codes returns every kind of problem.
func Codes() []Code {
	var codes []Code
	for _, k := range problem.Kinds() {
		codes = append(codes, Code{k.Code, k.Title, k.Status})
	}
	return codes
}
