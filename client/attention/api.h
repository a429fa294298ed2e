/* The public header, with what it declares made visible: everything else of the library is hidden.
 */
#ifndef SEQSYNC_ATTENTION_API_H
#define SEQSYNC_ATTENTION_API_H

#pragma GCC visibility push(default)
#include <seqsync/attention.h>
#pragma GCC visibility pop

#endif
