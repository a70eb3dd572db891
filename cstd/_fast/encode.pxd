"""Order frames as bytes. cimported by the engine module alone: see csrc/encode.h."""
from libc.stdint cimport int64_t

cdef extern from "encode.h" nogil:
    enum:
        FRAME_MAX "CSTD_FRAME_MAX"

    ctypedef struct WireInstrument "cstd_wire_instrument":
        char name[24]
        int name_n
        int price_precision
        int qty_precision

    ctypedef struct OrderTerms "cstd_order_terms":
        int side
        int time_in_force
        int post_only
        int64_t price_raw
        int64_t qty_raw
        int64_t expire_wall_ns
        int64_t deadline_wall_ns
        int64_t clock_ahead_ns
        int64_t req_id
        const char *cl_ord_id

    ctypedef struct DayText "cstd_day_text":
        int64_t day

    size_t encode_add "cstd_encode_add"(char *buffer, const WireInstrument *, const OrderTerms *, DayText *,
                                        size_t *token_at)
    size_t encode_exit_rest "cstd_encode_exit_rest"(char *buffer, const WireInstrument *, const OrderTerms *, DayText *)
    size_t encode_amend "cstd_encode_amend"(char *buffer, const WireInstrument *, const OrderTerms *, DayText *,
                                            size_t *token_at)
    size_t encode_cancel_all "cstd_encode_cancel_all"(char *buffer, int64_t req_id, size_t *token_at)
    size_t encode_cancel "cstd_encode_cancel"(char *buffer, const char *cl_ord_id, int64_t req_id, size_t *token_at)
