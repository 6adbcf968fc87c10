#pragma once

// name_this_thread: what `top -H` and a debugger call this thread. The kernel keeps 15
// characters.
//
// Thread: any; names the caller.

#include <pthread.h>

#include <string>

namespace argosy::engine {

inline void name_this_thread(std::string name) {
  if (name.size() > 15) name.resize(15);
  pthread_setname_np(pthread_self(), name.c_str());
}

}  // namespace argosy::engine
