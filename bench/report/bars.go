package report

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tidemark/tidemark/bench/result"
)

// bars are lying bars, below each other from Y 0 down: for each row a line with its name, and
// a bar for each system. A bar is as long as the median, which stands at its end, and has a
// thin line from the least to the greatest value. Dashes show where Tidemark has to be.
// gonum's own bars have none of that.
type bars struct {
	run  *result.Run
	rows []*row // of one unit
	text text.Style
}

// barWidth is how much of its place a bar takes, where one place is 1 high.
const barWidth = 0.66

// figures are Tidemark's, if there is one, and the others'.
func (r *row) figures() []*result.Figure {
	if r.own == nil {
		return r.others
	}
	return append([]*result.Figure{r.own}, r.others...)
}

// places is how many lines the bars take.
func (b bars) places() (n int) {
	for _, r := range b.rows {
		n += 1 + len(r.figures())
	}
	return n
}

// limits are where Tidemark's figure has to be.
func (b bars) limits(r *row) []float64 {
	if r.own == nil {
		return nil
	}
	return b.run.Limits(r.own)
}

// systems are ticks for the Y axis: the system's name at each bar.
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

// DataRange leaves room on the right for the numbers.
func (b bars) DataRange() (xmin, xmax, ymin, ymax float64) {
	for _, r := range b.rows {
		for _, f := range r.figures() {
			xmax = max(xmax, slices.Max(append(b.limits(r), append(f.Values, f.Median())...)))
		}
	}
	if xmax == 0 {
		xmax = 1
	}
	return 0, 1.12 * xmax, -float64(b.places()), 0
}

// Plot draws them.
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	top := 0.0
	for _, r := range b.rows {
		style := b.text
		style.XAlign, style.YAlign = text.XLeft, text.YCenter
		c.FillText(style, vg.Point{X: x(0) + 2, Y: y(top - 0.6)}, r.name)
		bottom := top - 1
		for _, f := range r.figures() {
			b.bar(c, x, y(bottom-0.5), y(bottom)-y(bottom-barWidth), f)
			bottom--
		}
		for _, limit := range b.limits(r) {
			c.StrokeLine2(draw.LineStyle{Color: ink, Width: 0.7, Dashes: []vg.Length{3, 2}}, x(limit), y(top-1), x(limit), y(bottom))
		}
		top = bottom
	}
}

// bar draws one bar around the height middle.
func (b bars) bar(c draw.Canvas, x func(float64) vg.Length, middle, height vg.Length, f *result.Figure) {
	low, high, end := middle-height/2, middle+height/2, x(max(0, f.Median()))
	c.FillPolygon(colour(f.System), []vg.Point{{X: x(0), Y: low}, {X: end, Y: low}, {X: end, Y: high}, {X: x(0), Y: high}})
	if len(f.Values) > 1 {
		least, most := x(max(0, slices.Min(f.Values))), x(max(0, slices.Max(f.Values)))
		c.StrokeLine2(draw.LineStyle{Color: ink, Width: 0.7}, least, middle, most, middle)
		end = max(end, most)
	}
	style := b.text
	style.XAlign, style.YAlign = text.XLeft, text.YCenter
	c.FillText(style, vg.Point{X: end + 4, Y: middle}, result.Number(f.Median()))
}
