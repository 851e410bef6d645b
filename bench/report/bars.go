package report

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tidemark/tidemark/bench/result"
)

// bars draws horizontal bars, from Y 0 downwards. Each row has a line with its name and
// one bar per system. A bar is as long as the median, which is printed at its end. A
// thin line spans the least to the greatest value. Dashed lines mark Tidemark's
// targets. gonum's own bar chart has none of these.
type bars struct {
	run  *result.Run
	rows []*row // all with the same unit
	text text.Style
}

// barThickness is the part of a slot that a bar fills. A slot has height 1.
const barThickness = 0.66

// figures returns Tidemark's figure, if present, followed by the others.
func (r *row) figures() []*result.Figure {
	if r.own == nil {
		return r.others
	}
	return append([]*result.Figure{r.own}, r.others...)
}

// slots returns the number of lines and bars.
func (b bars) slots() (n int) {
	for _, r := range b.rows {
		n += 1 + len(r.figures())
	}
	return n
}

// targets returns the values that Tidemark's figure must reach.
func (b bars) targets(r *row) []float64 {
	if r.own == nil {
		return nil
	}
	return b.run.TargetValues(r.own)
}

// systems returns Y axis ticks: the system's name beside each bar.
func (b bars) systems() []plot.Tick {
	var ticks []plot.Tick
	y := 0.0
	for _, r := range b.rows {
		y--
		for _, f := range r.figures() {
			ticks = append(ticks, plot.Tick{Value: y - 0.5, Label: result.SystemName(f.System)})
			y--
		}
	}
	return ticks
}

// DataRange implements plot.DataRanger. It leaves space on the right for the numbers.
func (b bars) DataRange() (xmin, xmax, ymin, ymax float64) {
	for _, r := range b.rows {
		for _, f := range r.figures() {
			xmax = max(xmax, slices.Max(append(b.targets(r), append(f.Values, f.Median())...)))
		}
	}
	if xmax == 0 {
		xmax = 1
	}
	return 0, 1.12 * xmax, -float64(b.slots()), 0
}

// Plot implements plot.Plotter.
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	top := 0.0
	for _, r := range b.rows {
		style := b.text
		style.XAlign, style.YAlign = text.XLeft, text.YCenter
		c.FillText(style, vg.Point{X: x(0) + 2, Y: y(top - 0.6)}, r.name)
		bottom := top - 1
		for _, f := range r.figures() {
			b.bar(c, x, y(bottom-0.5), y(bottom)-y(bottom-barThickness), f)
			bottom--
		}
		for _, limit := range b.targets(r) {
			c.StrokeLine2(draw.LineStyle{Color: textColor, Width: 0.7, Dashes: []vg.Length{3, 2}}, x(limit), y(top-1), x(limit), y(bottom))
		}
		top = bottom
	}
}

// bar draws one bar, centred on the height middle.
func (b bars) bar(c draw.Canvas, x func(float64) vg.Length, middle, height vg.Length, f *result.Figure) {
	low, high, end := middle-height/2, middle+height/2, x(max(0, f.Median()))
	c.FillPolygon(systemColor(f.System), []vg.Point{{X: x(0), Y: low}, {X: end, Y: low}, {X: end, Y: high}, {X: x(0), Y: high}})
	if len(f.Values) > 1 {
		least, most := x(max(0, slices.Min(f.Values))), x(max(0, slices.Max(f.Values)))
		c.StrokeLine2(draw.LineStyle{Color: textColor, Width: 0.7}, least, middle, most, middle)
		end = max(end, most)
	}
	style := b.text
	style.XAlign, style.YAlign = text.XLeft, text.YCenter
	c.FillText(style, vg.Point{X: end + 4, Y: middle}, result.Number(f.Median()))
}
