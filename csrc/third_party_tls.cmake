# argosy_tls: libssl and libcrypto behind the OpenSSL interface, static and
# position independent. The system's static OpenSSL serves where its development
# files are installed and can go into a shared object; otherwise BoringSSL is
# compiled. net/tls keeps to what both offer.

option(ARGOSY_SYSTEM_OPENSSL "Use the system's static OpenSSL if it is usable; OFF compiles BoringSSL" ON)

set(tls_from_system OFF)
if(ARGOSY_SYSTEM_OPENSSL)
  find_path(ARGOSY_OPENSSL_INCLUDE openssl/ssl.h)
  find_library(ARGOSY_LIBSSL libssl.a)
  find_library(ARGOSY_LIBCRYPTO libcrypto.a)
  mark_as_advanced(ARGOSY_OPENSSL_INCLUDE ARGOSY_LIBSSL ARGOSY_LIBCRYPTO)
  if(ARGOSY_OPENSSL_INCLUDE AND ARGOSY_LIBSSL AND ARGOSY_LIBCRYPTO)
    if(NOT DEFINED ARGOSY_OPENSSL_LINKS)
      # Only the linker knows whether an archive is position independent.
      file(WRITE ${CMAKE_BINARY_DIR}/tls_probe/probe.c
           "#include <openssl/ssl.h>\nvoid *probe(void) { return SSL_CTX_new(TLS_server_method()); }\n")
      execute_process(
        COMMAND ${CMAKE_C_COMPILER} -shared -fPIC -I${ARGOSY_OPENSSL_INCLUDE} probe.c -o probe.so
                ${ARGOSY_LIBSSL} ${ARGOSY_LIBCRYPTO} -Wl,-z,defs -ldl -lpthread
        WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/tls_probe RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
      if(failed)
        set(links OFF)
      else()
        set(links ON)
      endif()
      set(ARGOSY_OPENSSL_LINKS ${links} CACHE INTERNAL "The static OpenSSL can go into a shared object")
    endif()
    set(tls_from_system ${ARGOSY_OPENSSL_LINKS})
  endif()
endif()

if(tls_from_system)
  message(STATUS "TLS: ${ARGOSY_LIBSSL}")
  add_library(argosy_tls INTERFACE)
  target_include_directories(argosy_tls SYSTEM INTERFACE ${ARGOSY_OPENSSL_INCLUDE})
  target_link_libraries(argosy_tls INTERFACE ${ARGOSY_LIBSSL} ${ARGOSY_LIBCRYPTO} ${CMAKE_DL_LIBS} Threads::Threads)
else()
  message(STATUS "TLS: BoringSSL, compiled")
  argosy_source(tls_dir tls ${grpcio}
    ONLY src/python/grpcio/grpc_core_dependencies.py
         third_party/boringssl-with-bazel/crypto third_party/boringssl-with-bazel/ssl third_party/boringssl-with-bazel/gen
         third_party/boringssl-with-bazel/include third_party/boringssl-with-bazel/third_party/fiat)
  enable_language(ASM)
  # The distribution lists its own sources; assembly files guard themselves by platform.
  file(STRINGS ${tls_dir}/src/python/grpcio/grpc_core_dependencies.py listed REGEX "boringssl-with-bazel/.*(\\.cc|linux\\.S|asm/.*\\.S)'")
  list(TRANSFORM listed REPLACE "^.*'(.*)'.*$" "${tls_dir}/\\1")
  list(FILTER listed EXCLUDE REGEX "/test_support/")
  argosy_foreign(tls SOURCES ${listed} INCLUDE ${tls_dir}/third_party/boringssl-with-bazel/include
    DEFINE _XOPEN_SOURCE=700)
  target_link_libraries(argosy_tls PUBLIC Threads::Threads)
endif()
