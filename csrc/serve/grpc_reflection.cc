#include "serve/grpc_reflection.h"

#include <algorithm>

#include "grpc/status.h"
#include "kserve/proto_calls.h"

namespace argosy::serve {
namespace {

const ProtoFile* file_named(const std::vector<ProtoFile>& files, std::string_view name) {
  const auto at = std::find_if(files.begin(), files.end(), [&](const ProtoFile& file) { return file.name == name; });
  return at == files.end() ? nullptr : &*at;
}

const ProtoFile* file_with(const std::vector<ProtoFile>& files, std::string_view symbol) {
  const auto at = std::find_if(files.begin(), files.end(), [&](const ProtoFile& file) {
    return std::find(file.symbols.begin(), file.symbols.end(), symbol) != file.symbols.end();
  });
  return at == files.end() ? nullptr : &*at;
}

// The file and all it stands on, each once.
std::vector<std::string> with_dependencies(const ProtoFile& file, const std::vector<ProtoFile>& files) {
  std::vector<const ProtoFile*> found{&file};
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const std::string& name : found[i]->dependencies) {
      const ProtoFile* needed = file_named(files, name);
      if (needed != nullptr && std::find(found.begin(), found.end(), needed) == found.end()) found.push_back(needed);
    }
  }
  std::vector<std::string> descriptors;
  for (const ProtoFile* one : found) descriptors.push_back(one->descriptor);
  return descriptors;
}

}  // namespace

Result<std::string> answer_reflection(std::string_view message, const std::vector<ProtoFile>& files) {
  const auto request = kserve::decode_reflection(message);
  if (!request.ok()) return request.status();
  const auto not_found_error = [&](std::string_view what) {
    return kserve::encode_reflection_error(*request, static_cast<int>(grpc::Code::not_found),
                                           std::string(what) + " '" + request->text + "' is not known");
  };
  switch (request->question) {
    case kserve::ReflectionQuestion::list_services: {
      std::vector<std::string> names;
      for (const ProtoFile& file : files) names.insert(names.end(), file.services.begin(), file.services.end());
      return kserve::encode_reflection_services(*request, names);
    }
    case kserve::ReflectionQuestion::file_by_filename: {
      const ProtoFile* file = file_named(files, request->text);
      if (file == nullptr) return not_found_error("file");
      return kserve::encode_reflection_files(*request, with_dependencies(*file, files));
    }
    case kserve::ReflectionQuestion::file_containing_symbol: {
      const ProtoFile* file = file_with(files, request->text);
      if (file == nullptr) return not_found_error("symbol");
      return kserve::encode_reflection_files(*request, with_dependencies(*file, files));
    }
    case kserve::ReflectionQuestion::none:
    case kserve::ReflectionQuestion::other: break;
  }
  return kserve::encode_reflection_error(
      *request, static_cast<int>(grpc::Code::unimplemented),
      "this question is not answered; ask for files, symbols or the list of services");
}

}  // namespace argosy::serve
