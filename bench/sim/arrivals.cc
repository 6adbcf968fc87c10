#include "arrivals.h"

#include <fstream>
#include <random>

namespace argosy::sim {

std::vector<double> poisson(double per_second, std::size_t count, unsigned seed) {
  return bursty(per_second, 1, count, seed);
}

std::vector<double> bursty(double per_second, std::size_t burst, std::size_t count, unsigned seed) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> gap(per_second / 1e6 / static_cast<double>(burst));
  std::vector<double> moments;
  moments.reserve(count);
  for (double at = gap(random); moments.size() < count; at += gap(random)) {
    for (std::size_t i = 0; i < burst && moments.size() < count; ++i) moments.push_back(at);
  }
  return moments;
}

std::vector<double> replayed(const std::string& path) {
  std::ifstream file(path);
  std::vector<double> moments;
  for (double at = 0; file >> at;) moments.push_back(at);
  return moments;
}

}  // namespace argosy::sim
