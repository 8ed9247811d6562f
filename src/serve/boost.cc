// What of Boost.Asio and Boost.Beast is compiled once instead of in every file that includes them.
#include <boost/asio/impl/src.hpp>
#ifdef HUNCH_HAVE_TLS
#include <boost/asio/ssl/impl/src.hpp>
#endif
#include <boost/beast/src.hpp>
