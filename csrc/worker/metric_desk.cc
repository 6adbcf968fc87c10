#include "worker/metric_desk.h"

#include <utility>

namespace argosy::worker {
namespace {

Status none() { return unsupported("this server was started without metrics of models"); }

}  // namespace

MetricDesk::MetricDesk(std::shared_ptr<InstanceMetrics> instance, std::shared_ptr<OutgoingCalls> answers)
    : life_(instance ? std::make_unique<MetricsLife>(std::move(instance)) : nullptr), answers_(std::move(answers)) {}

void MetricDesk::read(char kind, Reader& from) {
  const auto byte = from.number<std::uint8_t>();  // what it means depends on the kind; else padding
  from.align(8);
  if (kind == 'u') {
    const auto metric = from.number<std::uint64_t>();
    const auto value = from.number<double>();
    if (life_ && !from.failed() && byte <= static_cast<std::uint8_t>(CustomMetrics::Operation::observe)) {
      life_->update(metric, static_cast<CustomMetrics::Operation>(byte), value);
    }
    return;
  }
  const auto id = from.number<std::uint64_t>();
  if (!life_) return answer(id, none());
  switch (kind) {
    case 'n': {
      metrics::Family family;
      const auto number = from.number<std::uint8_t>();
      family.kind = number == 0   ? metrics::Kind::counter
                    : number == 1 ? metrics::Kind::gauge
                                  : metrics::Kind::histogram;
      family.name = from.text();
      family.help = from.text();
      if (!from.failed()) answer(id, life_->make_family(std::move(family)));
      return;
    }
    case 'k': return make_metric(id, from);
    case 'd': {
      const auto number = from.number<std::uint64_t>();
      if (from.failed()) return;
      Status status;
      if (byte == 0) {
        status = life_->drop_family(number);
      } else {
        life_->drop_metric(number);
      }
      return answer(id, status.ok() ? Result<std::uint64_t>(number) : Result<std::uint64_t>(status));
    }
    default: {
      const auto value = life_->value(from.number<std::uint64_t>());
      if (from.failed()) return;
      infer::Response response;
      if (value.ok()) {
        response.parameters.push_back({"value", *value});
      } else {
        response.status = value.status();
      }
      return answers_->answer(id, response);
    }
  }
}

void MetricDesk::make_metric(std::uint64_t id, Reader& from) {
  const auto family = from.number<std::uint64_t>();
  const auto label_count = from.number<std::uint32_t>();
  const auto bound_count = from.number<std::uint32_t>();
  metrics::Labels labels;
  for (std::uint32_t i = 0; i < label_count && !from.failed(); ++i) {
    std::string name(from.text());
    labels.emplace_back(std::move(name), std::string(from.text()));
  }
  from.align(8);
  std::vector<double> bounds;
  for (std::uint32_t i = 0; i < bound_count && !from.failed(); ++i) bounds.push_back(from.number<double>());
  if (!from.failed()) answer(id, life_->make_metric(family, std::move(labels), std::move(bounds)));
}

void MetricDesk::answer(std::uint64_t id, const Result<std::uint64_t>& number) {
  infer::Response response;
  if (number.ok()) {
    response.parameters.push_back({"number", static_cast<std::int64_t>(*number)});
  } else {
    response.status = number.status();
  }
  answers_->answer(id, response);
}

void MetricDesk::end() {
  if (life_) life_->end();
}

}  // namespace argosy::worker
