package report

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/tidemark/tidemark/bench/result"
)

// plotFiles maps a measure to the file of its plot. Measure 7 has no peers and no plot.
var plotFiles = [...]string{
	1: "broadcast.svg", 2: "memory.svg", 3: "throughput.svg", 4: "publishing.svg", 5: "latency.svg",
	6: "reconnect.svg", 8: "unstable.svg", 9: "growth.svg",
}

// A Plot is a file with the plots of one measure.
type Plot struct {
	Title string // of the measure
	File  string // file name within the directory
}

const (
	width          = 7.2 * vg.Inch // width of the page text
	slotHeight     = 17            // points of height for a bar or a row's name
	headerHeight   = 56            // points of height for the title and the scale of bars
	linePlotHeight = 150           // points of height for a line plot
	logScaleFrom   = 50            // X is logarithmic if its values span at least this factor
)

// A panel is one plot of a file. It is as wide as the page, or half as wide beside
// another panel.
type panel struct {
	plot   *plot.Plot
	height vg.Length
	half   bool
}

// Plots draws each measure of the run into an SVG file in dir, which it creates if
// necessary. It returns the plots ordered by measure.
func Plots(dir string, r *result.Run) ([]Plot, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var plots []Plot
	for measure, name := range plotFiles {
		panels := panelsOf(r, measure)
		if name == "" || len(panels) == 0 {
			continue
		}
		if err := write(filepath.Join(dir, name), panels); err != nil {
			return nil, fmt.Errorf("draw the plot of measure %d: %w", measure, err)
		}
		plots = append(plots, Plot{title(measure), name})
	}
	return plots, nil
}

// panelsOf returns one panel per unit and direction of figures, and one per group of
// series.
func panelsOf(r *result.Run, measure int) []panel {
	var all []bars
	for _, row := range rowsOf(r) {
		if row.measure != measure {
			continue
		}
		i := slices.IndexFunc(all, func(b bars) bool { return b.rows[0].unit == row.unit && b.rows[0].higher() == row.higher() })
		if i < 0 {
			i = len(all)
			all = append(all, bars{run: r})
		}
		all[i].rows = append(all[i].rows, row)
	}
	var panels []panel
	for _, b := range all {
		panels = append(panels, barPanel(b))
	}
	for _, g := range groupsOf(r) {
		if g.measure == measure {
			panels = append(panels, linePanel(g))
		}
	}
	return panels
}

// write draws the panels below each other. Two half-width panels share a line.
func write(path string, panels []panel) error {
	height := drawPanels(panels, nil)
	canvas := vgsvg.New(width, height)
	page := draw.New(canvas)
	page.SetColor(color.White)
	page.Fill(page.Rectangle.Path())
	drawPanels(panels, &page)
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// Few machines have the font that gonum names. Add common fonts of the same kind.
	text := bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif"))
	return os.WriteFile(path, text, 0o644)
}

// drawPanels draws the panels onto page and returns their total height. A nil page
// draws nothing.
func drawPanels(panels []panel, page *draw.Canvas) (height vg.Length) {
	for i := 0; i < len(panels); i++ {
		p, pair := panels[i], i+1 < len(panels) && panels[i].half && panels[i+1].half
		if pair {
			i++
		}
		if page != nil {
			right := vg.Length(0)
			if p.half {
				right = width / 2
			}
			p.plot.Draw(crop(*page, 0, right, height, p.height))
			if pair {
				panels[i].plot.Draw(crop(*page, width/2, 0, height, panels[i].height))
			}
		}
		height += p.height
	}
	return height
}

// crop returns the part of the page at the given distances from its left, right and top
// edges.
func crop(page draw.Canvas, left, right, top, height vg.Length) draw.Canvas {
	bottom := page.Max.Y - page.Min.Y - top - height
	return draw.Crop(page, left+6, -right-18, bottom+6, -top-6)
}

// newPlot returns an empty plot in muted colours.
func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = 6
	p.Title.TextStyle.Font = sans(10)
	p.Title.TextStyle.Color = textColor
	p.Legend.TextStyle.Font = sans(9)
	p.Legend.TextStyle.Color = textColor
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.LineStyle.Color, axis.Tick.LineStyle.Color = gridColor, gridColor
		axis.Label.TextStyle.Font, axis.Label.TextStyle.Color = sans(9), textColor
		axis.Tick.Label.Font, axis.Tick.Label.Color = sans(9), textColor
	}
	return p
}

func sans(size font.Length) font.Font {
	return font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size)
}

var (
	textColor = color.Gray{Y: 60}
	gridColor = color.Gray{Y: 200}
)

// systemColor returns the colour of a system in every plot.
func systemColor(system string) color.Color {
	switch system {
	case result.Tidemark:
		return color.RGBA{R: 0x1b, G: 0x7a, B: 0x8c, A: 0xff}
	case result.Nchan:
		return color.RGBA{R: 0xd0, G: 0x8c, B: 0x4a, A: 0xff}
	case result.SocketIO:
		return color.RGBA{R: 0x8c, G: 0x7a, B: 0xa9, A: 0xff}
	}
	return color.RGBA{R: 0xb4, G: 0xb8, B: 0xbb, A: 0xff} // not a server
}

// barPanel draws the bars of one unit.
func barPanel(b bars) panel {
	better := "less is better"
	if b.rows[0].higher() {
		better = "more is better"
	}
	p := newPlot(fmt.Sprintf("%s (%s)", b.rows[0].unit, better))
	b.text = p.X.Tick.Label
	p.Add(b)
	p.X.Tick.Marker = readableTicks{}
	p.Y.Tick.Marker = plot.ConstantTicks(b.systems())
	p.Y.Tick.LineStyle.Width, p.Y.Tick.Length = 0, 0
	p.Y.Padding = 0
	return panel{p, vg.Length(headerHeight + slotHeight*b.slots()), false}
}

// linePanel draws a line for each system.
func linePanel(g *group) panel {
	p := newPlot(g.name + ", " + g.unit)
	p.X.Label.Text = g.over
	p.Y.Min = 0
	p.Y.Tick.Marker = readableTicks{}
	p.X.Tick.Marker = plot.TickerFunc(func(_, _ float64) []plot.Tick { return ticksAt(xValues(g.series)) })
	if x := xValues(g.series); x[0] > 0 && x[len(x)-1] > logScaleFrom*x[0] {
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
			continue // not a number; the table still shows it
		}
		line.Color, line.Width = systemColor(s.System), 1.5
		dots.Color, dots.Shape, dots.Radius = systemColor(s.System), draw.CircleGlyph{}, 2.5
		p.Add(line, dots)
		if len(g.series) > 1 {
			p.Legend.Add(result.SystemName(s.System), line)
		}
	}
	if most == 0 {
		most = 1
	}
	p.Y.Max = 1.25 * most // space for the legend
	return panel{p, linePlotHeight, true}
}

// ticksAt returns a tick for each measured value.
func ticksAt(places []float64) []plot.Tick {
	var ticks []plot.Tick
	for _, x := range places {
		ticks = append(ticks, plot.Tick{Value: x, Label: result.Number(x)})
	}
	return ticks
}

// readableTicks are gonum's default ticks with numbers formatted by result.Number.
type readableTicks struct{}

func (readableTicks) Ticks(least, most float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(least, most)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = strings.TrimSpace(result.Number(ticks[i].Value))
		}
	}
	return ticks
}
