#include "http1/parser.h"

#include <llhttp.h>

#include <algorithm>
#include <cassert>
#include <cstring>

namespace argosy::http1 {
namespace {

constexpr std::size_t kReadBuffer = 16u << 10;
constexpr std::size_t kWorthReading = 2u << 10;  // less room than this: take a new buffer between requests

struct Range {  // from the first byte of the request
  std::size_t begin = 0;
  std::size_t size = 0;
};

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return lower(x) == lower(y); });
}

const std::string_view* Head::find(std::string_view name) const {
  for (const Field& field : fields) {
    if (equal_ignoring_case(field.name, name)) return &field.value;
  }
  return nullptr;
}

struct Parser::Parts {
  enum class Stage : std::uint8_t { head, sized_body, chunked_body, complete, broken };

  Parts(const ParserLimits& l, BytesPool& p, BodyRoom* r) : limits(l), pool(p), rooms(r) {
    llhttp_settings_init(&settings);
    settings.on_method = [](llhttp_t* at, const char* data, std::size_t n) {
      return of(at).extend(of(at).method, data, n);
    };
    settings.on_url = [](llhttp_t* at, const char* data, std::size_t n) {
      return of(at).extend(of(at).target, data, n);
    };
    settings.on_header_field = [](llhttp_t* at, const char* data, std::size_t n) { return of(at).on_name(data, n); };
    settings.on_header_value = [](llhttp_t* at, const char* data, std::size_t n) { return of(at).on_value(data, n); };
    settings.on_header_value_complete = [](llhttp_t* at) {
      of(at).name_open = false;
      return 0;
    };
    settings.on_headers_complete = [](llhttp_t* at) {
      at->upgrade = 0;  // we speak nothing else: the request is answered as it is
      return static_cast<int>(HPE_PAUSED);
    };
    settings.on_chunk_header = [](llhttp_t* at) { return of(at).on_chunk(at->content_length); };
    settings.on_body = [](llhttp_t* at, const char* data, std::size_t n) { return of(at).on_body(data, n); };
    settings.on_message_complete = [](llhttp_t*) { return static_cast<int>(HPE_PAUSED); };
    llhttp_init(&machine, HTTP_REQUEST, &settings);
    machine.data = this;
  }

  static Parts& of(llhttp_t* at) { return *static_cast<Parts*>(at->data); }
  char* chars() { return reinterpret_cast<char*>(buffer.data()); }

  Event refuse(int status, std::string text) {
    stage = Stage::broken;
    fault = {status, std::move(text)};
    return Event::fault;
  }
  int refuse_inside(int status, std::string text) {
    refuse(status, std::move(text));
    return HPE_USER;
  }

  int extend(Range& range, const char* data, std::size_t n) {
    if (stage != Stage::head) return 0;
    const auto at = static_cast<std::size_t>(data - (chars() + begin));
    if (range.size == 0) range.begin = at;
    if (range.begin + range.size != at) return refuse_inside(400, "malformed HTTP request: a folded header field");
    range.size += n;
    return 0;
  }

  int on_name(const char* data, std::size_t n) {
    if (stage != Stage::head) return 0;  // a trailer: read over, its size counted
    if (!name_open) {
      if (fields.size() >= limits.max_headers) {
        return refuse_inside(431, "more than " + std::to_string(limits.max_headers) + " header fields");
      }
      fields.emplace_back();
      name_open = true;
    }
    return extend(fields.back().first, data, n);
  }
  int on_value(const char* data, std::size_t n) {
    return stage == Stage::head ? extend(fields.back().second, data, n) : 0;
  }

  int on_chunk(std::uint64_t size) {
    trailer_bytes = 0;
    if (size == 0) return 0;
    if (++chunks > limits.max_chunks) {
      return refuse_inside(400, "Chunked request body exceeds maximum of " + std::to_string(limits.max_chunks) +
                                    " non-empty chunks. Send fewer or larger HTTP chunks.");
    }
    if (size > limits.max_body_bytes || body_size > limits.max_body_bytes - size) {
      return refuse_inside(413,
                           "request body exceeds the maximum of " + std::to_string(limits.max_body_bytes) + " bytes");
    }
    return 0;
  }

  int on_body(const char* data, std::size_t n) {
    if (body.capacity() - body_size < n) {
      Buffer larger = pool.allocate(std::max<std::size_t>({kReadBuffer, body_size + n, body.capacity() * 2}));
      if (!larger) return refuse_inside(503, "no memory for the request body");
      if (body_size > 0) std::memcpy(larger.data(), body.data(), body_size);
      body = std::move(larger);
    }
    std::memcpy(body.data() + body_size, data, n);
    body_size += n;
    return 0;
  }

  // Makes room for at least one byte after `filled`; the request's first bytes move along.
  bool make_room() {
    const std::size_t have = filled - begin;
    if (begin == filled && !shared && buffer) {
      begin = parsed = filled = 0;
      return true;
    }
    if (buffer && filled < buffer.capacity() && (have > 0 || buffer.capacity() - filled >= kWorthReading)) return true;
    return move_to(have >= kReadBuffer / 2 ? have * 2 : kReadBuffer);
  }

  // Takes a new buffer of `size` and the current request's bytes into it.
  bool move_to(std::size_t size) {
    const std::size_t have = filled - begin;
    Buffer next = pool.allocate(size);
    if (!next) return false;
    if (have > 0) std::memcpy(next.data(), buffer.data() + begin, have);
    buffer = std::move(next);
    parsed -= begin;
    filled = have;
    begin = 0;
    shared = false;
    return true;
  }

  Event parse_head() {
    if (parsed == filled) return Event::need_more;
    const llhttp_errno_t result = llhttp_execute(&machine, chars() + parsed, filled - parsed);
    if (stage == Stage::broken) return Event::fault;
    if (result == HPE_OK) {
      parsed = filled;
      if (parsed - begin > limits.max_header_bytes) return too_long();
      return Event::need_more;
    }
    if (result != HPE_PAUSED) return malformed();
    parsed = static_cast<std::size_t>(llhttp_get_error_pos(&machine) - chars());
    if (parsed - begin > limits.max_header_bytes) return too_long();
    return head_complete();
  }

  Event too_long() {
    return refuse(431,
                  "request header fields exceed the maximum of " + std::to_string(limits.max_header_bytes) + " bytes");
  }
  Event malformed() {
    const char* reason = llhttp_get_error_reason(&machine);
    return refuse(400,
                  "malformed HTTP request: " + std::string(reason != nullptr && *reason != 0 ? reason : "unreadable"));
  }

  std::string_view view(Range range) { return {chars() + begin + range.begin, range.size}; }

  Event head_complete() {
    if ((machine.flags & F_CHUNKED) != 0 && buffer.capacity() - parsed < kWorthReading &&
        !move_to(filled - begin + kReadBuffer)) {
      return refuse(503, "no memory for the request body");
    }
    head.method = view(method);
    head.target = view(target);
    head.fields.clear();
    for (const auto& [name, value] : fields) {
      std::string_view text = view(value);
      while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
      head.fields.push_back({view(name), text});
    }
    if (machine.http_major != 1) return refuse(505, "HTTP/1.0 or HTTP/1.1 is expected");
    head.minor_version = machine.http_minor;
    head.keep_alive = llhttp_should_keep_alive(&machine) != 0;
    const std::string_view* expect = head.find("expect");
    head.expects_continue =
        head.minor_version >= 1 && expect != nullptr && equal_ignoring_case(*expect, "100-continue");
    if (expect != nullptr && !head.expects_continue) return refuse(417, "the only expectation known is 100-continue");

    if ((machine.flags & F_CHUNKED) != 0) {
      head.has_body = true;
      stage = Stage::chunked_body;
      llhttp_resume(&machine);
      return Event::head;
    }
    const std::uint64_t length = (machine.flags & F_CONTENT_LENGTH) != 0 ? machine.content_length : 0;
    if ((machine.flags & F_TRANSFER_ENCODING) != 0) return refuse(501, "the only Transfer-Encoding known is chunked");
    if (length > limits.max_body_bytes) {
      return refuse(413, "Unable to parse Content-Length, value is out of range [ 0, " +
                             std::to_string(limits.max_body_bytes) + " ], got: " + std::to_string(length));
    }
    head.has_body = length > 0;
    wanted = static_cast<std::size_t>(length);
    in_place = wanted <= buffer.capacity() - parsed;
    if (!in_place) {
      if (rooms != nullptr) body = rooms->room(head, wanted);
      if (!body) body = pool.allocate(wanted);
      if (!body) return refuse(503, "no memory for a request body of " + std::to_string(wanted) + " bytes");
      body_size = std::min(wanted, filled - parsed);  // what came along with the head
      std::memcpy(body.data(), buffer.data() + parsed, body_size);
      parsed += body_size;
    }
    stage = Stage::sized_body;
    return head.has_body ? Event::head : finish_sized();
  }

  Event finish_sized() {
    if (in_place) {
      if (filled - parsed < wanted) return Event::need_more;
      whole = buffer.written(parsed, wanted);
      shared = shared || wanted > 0;
      parsed += wanted;
    } else {
      if (body_size < wanted) return Event::need_more;
      whole = std::move(body).freeze(wanted);
      body = {};
    }
    stage = Stage::complete;
    return Event::message;
  }

  Event parse_chunks() {
    while (parsed < filled) {
      const llhttp_errno_t result = llhttp_execute(&machine, chars() + parsed, filled - parsed);
      if (stage == Stage::broken) return Event::fault;
      if (result == HPE_OK) {
        trailer_bytes += filled - parsed;
        parsed = filled;
        // Chunk heads, extensions and trailers are held by nobody, yet they must end.
        if (trailer_bytes > limits.max_header_bytes + kReadBuffer && last_body_size == body_size) return too_long();
        if (last_body_size != body_size) trailer_bytes = 0;
        last_body_size = body_size;
        break;
      }
      if (result != HPE_PAUSED) return malformed();
      parsed = static_cast<std::size_t>(llhttp_get_error_pos(&machine) - chars());
      whole = std::move(body).freeze(body_size);
      body = {};
      stage = Stage::complete;
      return Event::message;
    }
    // The head stays where it is until the request is answered to; behind it there is
    // nothing to keep.
    if (parsed == filled) filled = parsed = chunk_begin();
    return Event::need_more;
  }

  std::size_t chunk_begin() const { return begin + head_size; }

  void start_next() {
    begin = parsed;
    method = target = {};
    fields.clear();
    name_open = false;
    whole = {};
    body = {};
    body_size = wanted = chunks = trailer_bytes = last_body_size = head_size = 0;
    stage = Stage::head;
    llhttp_init(&machine, HTTP_REQUEST, &settings);
    machine.data = this;
  }

  const ParserLimits limits;
  BytesPool& pool;
  BodyRoom* const rooms;
  llhttp_settings_t settings;
  llhttp_t machine;
  Stage stage = Stage::head;
  Buffer buffer;
  std::size_t begin = 0;   // of the current request
  std::size_t parsed = 0;  // begin <= parsed <= filled
  std::size_t filled = 0;
  bool shared = false;  // somebody holds slices of the buffer
  Range method, target;
  std::vector<std::pair<Range, Range>> fields;
  bool name_open = false;
  Head head;
  Fault fault;
  std::size_t head_size = 0;  // chunked only
  std::size_t wanted = 0;     // of the body
  bool in_place = true;       // the body is a slice of `buffer`
  Buffer body;
  std::size_t body_size = 0;
  std::size_t chunks = 0;
  std::size_t trailer_bytes = 0;
  std::size_t last_body_size = 0;
  Bytes whole;
};

Parser::Parser(const ParserLimits& limits, BytesPool& pool, BodyRoom* rooms)
    : parts_(std::make_unique<Parts>(limits, pool, rooms)) {}
Parser::~Parser() = default;

std::span<std::byte> Parser::space() {
  Parts& at = *parts_;
  if (at.stage == Parts::Stage::sized_body && !at.in_place) {
    return at.body.span().subspan(at.body_size, at.wanted - at.body_size);
  }
  if (at.stage == Parts::Stage::sized_body || at.stage == Parts::Stage::chunked_body) {
    return at.buffer.span().subspan(at.filled);  // never moved: the head's views point into it
  }
  if (!at.make_room()) return {};
  return at.buffer.span().subspan(at.filled);
}

void Parser::filled(std::size_t count) {
  Parts& at = *parts_;
  if (at.stage == Parts::Stage::sized_body && !at.in_place) {
    at.body_size += count;
  } else {
    at.filled += count;
  }
}

Event Parser::next() {
  Parts& at = *parts_;
  switch (at.stage) {
    case Parts::Stage::complete: at.start_next(); [[fallthrough]];
    case Parts::Stage::head: {
      const Event event = at.parse_head();
      if (event == Event::head) at.head_size = at.parsed - at.begin;
      return event;
    }
    case Parts::Stage::sized_body: return at.finish_sized();
    case Parts::Stage::chunked_body: return at.parse_chunks();
    case Parts::Stage::broken: break;
  }
  return Event::fault;
}

const Head& Parser::head() const { return parts_->head; }
Bytes Parser::take_body() { return std::move(parts_->whole); }
const Fault& Parser::fault() const { return parts_->fault; }

bool Parser::between_messages() const {
  const Parts& at = *parts_;
  return (at.stage == Parts::Stage::head && at.filled == at.begin) ||
         (at.stage == Parts::Stage::complete && at.filled == at.parsed);
}

bool Parser::in_body() const {
  return parts_->stage == Parts::Stage::sized_body || parts_->stage == Parts::Stage::chunked_body;
}

}  // namespace argosy::http1
