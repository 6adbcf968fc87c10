#pragma once

// The Prometheus text format, version 0.0.4: what GET /metrics answers.
//
// Thread: pure; any.

#include <string>
#include <string_view>

#include "metrics/page.h"

namespace argosy::metrics {

inline constexpr std::string_view kPrometheusContentType = "text/plain; version=0.0.4; charset=utf-8";

std::string prometheus_text(const Page& page);

}  // namespace argosy::metrics
