#include "metrics/prometheus.h"

#include <array>
#include <charconv>
#include <cmath>

namespace argosy::metrics {
namespace {

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

void append_number(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    std::array<char, 32> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out.append(digits.data(), end);
  }
}

// `bound`: the histogram's own label, empty for none.
void append_sample(std::string& out, std::string_view name, std::string_view suffix, const Labels& labels,
                   std::string_view bound) {
  out.append(name).append(suffix);
  if (!labels.empty() || !bound.empty()) {
    char separator = '{';
    for (const auto& [label, value] : labels) {
      out += separator;
      out.append(label).append("=\"");
      append_escaped(out, value, true);
      out += '"';
      separator = ',';
    }
    if (!bound.empty()) {
      out += separator;
      out.append("le=\"").append(bound).append("\"");
    }
    out += '}';
  }
  out += ' ';
}

void append_series(std::string& out, std::string_view name, const Page::Series& series) {
  if (const auto* whole = std::get_if<std::uint64_t>(&series.value)) {
    append_sample(out, name, "", series.labels, {});
    out.append(std::to_string(*whole)).append("\n");
    return;
  }
  if (const auto* number = std::get_if<double>(&series.value)) {
    append_sample(out, name, "", series.labels, {});
    append_number(out, *number);
    out += '\n';
    return;
  }
  const auto& histogram = std::get<HistogramReading>(series.value);
  for (std::size_t i = 0; i < histogram.bounds.size(); ++i) {
    std::string bound;
    append_number(bound, histogram.bounds[i]);
    append_sample(out, name, "_bucket", series.labels, bound);
    out.append(std::to_string(histogram.cumulative[i])).append("\n");
  }
  append_sample(out, name, "_bucket", series.labels, "+Inf");
  out.append(std::to_string(histogram.count)).append("\n");
  append_sample(out, name, "_sum", series.labels, {});
  append_number(out, histogram.sum);
  out += '\n';
  append_sample(out, name, "_count", series.labels, {});
  out.append(std::to_string(histogram.count)).append("\n");
}

std::string_view type_of(Kind kind) {
  switch (kind) {
    case Kind::counter: return "counter";
    case Kind::gauge: return "gauge";
    case Kind::histogram: return "histogram";
  }
  return "untyped";
}

}  // namespace

std::string prometheus_text(const Page& page) {
  std::string out;
  for (const auto& [name, block] : page.blocks()) {
    out.append("# HELP ").append(name).append(" ");
    append_escaped(out, block.help, false);
    out.append("\n# TYPE ").append(name).append(" ").append(type_of(block.kind)).append("\n");
    for (const auto& series : block.series) append_series(out, name, series);
  }
  return out;
}

}  // namespace argosy::metrics
