package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/tidemark/tidemark/bench/result"
)

// files are those of the measures that are drawn, each by its number. The registry
// has no peer to stand beside.
var files = [...]string{
	1: "broadcast.svg", 2: "memory.svg", 3: "flood.svg", 4: "publishing.svg", 5: "latency.svg",
	6: "resume.svg", 8: "badlines.svg", 9: "growth.svg",
}

// A Plot is a file that was drawn.
type Plot struct {
	Title string // of the measure
	File  string // its name in the directory
}

const (
	width     = 7.2 * vg.Inch // of a page of text
	barRoom   = 20            // points of height for one bar
	headRoom  = 38            // points for a panel's title and the space below it
	axisRoom  = 26            // points for the scale below bars
	lineRoom  = 200           // points of height for a panel of lines
	logBeyond = 50            // from so many times the least on, X is logarithmic
)

// A panel is one plot, of several below each other in a file.
type panel struct {
	plot   *plot.Plot
	height vg.Length
}

// Plots draws each measure that the run has into an SVG file of its own in the
// directory, which it makes if need be, and returns the plots in the order of the measures.
func Plots(dir string, r *result.Run) ([]Plot, error) {
	panels := make(map[int][]panel)
	for _, row := range rowsOf(r) {
		panels[row.measure] = append(panels[row.measure], barPanel(r, row))
	}
	for _, g := range groupsOf(r) {
		panels[g.measure] = append(panels[g.measure], linePanel(g))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var plots []Plot
	for measure, name := range files {
		if name == "" || len(panels[measure]) == 0 {
			continue
		}
		if err := write(filepath.Join(dir, name), panels[measure]); err != nil {
			return nil, fmt.Errorf("plot of measure %d: %w", measure, err)
		}
		plots = append(plots, Plot{title(measure), name})
	}
	return plots, nil
}

// write draws the panels below each other.
func write(path string, panels []panel) error {
	var height vg.Length
	for _, p := range panels {
		height += p.height
	}
	canvas := vgsvg.New(width, height)
	page := draw.New(canvas)
	for _, p := range panels {
		top := page.Max.Y
		p.plot.Draw(draw.Crop(page, 6, -18, top-page.Min.Y-p.height+4, -4))
		page.Max.Y = top - p.height
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// The fonts that gonum names are on few machines. Whoever looks has others of that kind.
	text := bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif"))
	return os.WriteFile(path, text, 0o644)
}

// newPlot is an empty plot in quiet colours.
func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = 6
	p.Title.TextStyle.Font = sans(11)
	p.Title.TextStyle.Color = ink
	p.Legend.TextStyle.Font = sans(9)
	p.Legend.TextStyle.Color = ink
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.LineStyle.Color, axis.Tick.LineStyle.Color = faint, faint
		axis.Label.TextStyle.Font, axis.Label.TextStyle.Color = sans(9), ink
		axis.Tick.Label.Font, axis.Tick.Label.Color = sans(9), ink
	}
	return p
}

func sans(size font.Length) font.Font {
	return font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size)
}

var (
	ink   = color.Gray{Y: 60}
	faint = color.Gray{Y: 200}
)

// colour is a system's in every plot.
func colour(system string) color.Color {
	switch system {
	case result.Tidemark:
		return color.RGBA{R: 0x1b, G: 0x7a, B: 0x8c, A: 0xff}
	case result.Nchan:
		return color.RGBA{R: 0xd0, G: 0x8c, B: 0x4a, A: 0xff}
	case result.SocketIO:
		return color.RGBA{R: 0x8c, G: 0x7a, B: 0xa9, A: 0xff}
	}
	return color.RGBA{R: 0xb4, G: 0xb8, B: 0xbb, A: 0xff} // no server
}

// barPanel has a bar for each system, and a line where each bound lies.
func barPanel(r *result.Run, row *row) panel {
	better := "less is better"
	figures := row.others
	if row.own != nil {
		figures = append([]*result.Figure{row.own}, figures...)
	}
	if len(figures) > 0 && figures[0].Higher {
		better = "more is better"
	}
	p := newPlot(fmt.Sprintf("%s, %s (%s)", row.name, row.unit, better))
	b := bars{text: p.X.Tick.Label}
	names := make([]string, len(figures))
	for i, f := range figures {
		names[len(names)-1-i] = result.SystemName(f.System) // Y counts from below
		b.figures = append([]*result.Figure{f}, b.figures...)
	}
	if row.own != nil {
		b.limits = r.Limits(row.own)
	}
	p.Add(b)
	p.NominalY(names...)
	p.X.Min = 0
	p.X.Tick.Marker = spoken{}
	p.Y.Padding = 0
	p.Y.Min, p.Y.Max = -0.6, float64(len(names))-0.4
	return panel{p, vg.Length(headRoom + axisRoom + barRoom*len(names))}
}

// linePanel has a line for each system.
func linePanel(g *group) panel {
	p := newPlot(g.name + ", " + g.unit)
	p.X.Label.Text = g.over
	p.Y.Min = 0
	p.Y.Tick.Marker = spoken{}
	p.X.Tick.Marker = plot.TickerFunc(func(_, _ float64) []plot.Tick { return ticksAt(g.places()) })
	if places := g.places(); places[0] > 0 && places[len(places)-1] > logBeyond*places[0] {
		p.X.Scale = plot.LogScale{}
	}
	p.Legend.Top = true
	most := 0.0
	for _, s := range g.series {
		var points plotter.XYs
		for _, point := range s.Points {
			points = append(points, plotter.XY{X: point.X, Y: point.Median()})
			most = max(most, point.Median())
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			continue // not a number: the table has it
		}
		line.Color, line.Width = colour(s.System), 1.5
		dots.Color, dots.Shape, dots.Radius = colour(s.System), draw.CircleGlyph{}, 2.5
		p.Add(line, dots)
		if len(g.series) > 1 {
			p.Legend.Add(result.SystemName(s.System), line)
		}
	}
	p.Y.Max = math.Max(1.25*most, math.SmallestNonzeroFloat32) // room for the legend
	return panel{p, lineRoom}
}

// ticksAt marks the values that were measured.
func ticksAt(places []float64) []plot.Tick {
	var ticks []plot.Tick
	for _, x := range places {
		ticks = append(ticks, plot.Tick{Value: x, Label: result.Number(x)})
	}
	return ticks
}

// spoken are the usual ticks with numbers as people read them.
type spoken struct{}

func (spoken) Ticks(least, most float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(least, most)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = strings.TrimSpace(result.Number(ticks[i].Value))
		}
	}
	return ticks
}
