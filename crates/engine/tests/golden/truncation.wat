(module
  (func (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
  (func (param f32) (result i64) (i64.trunc_sat_f32_u (local.get 0))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, f64) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: f64):
;; @0021                               v3 = fcvt_to_sint.i32 v1
;; @0022                               return v3
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   cvt_float64_to_sint32_seq %xmm0, %eax, %rsi, %xmm3
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;;
;; function 1
;; function u0:1(i64 vmctx, f32) -> i64 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: f32):
;; @0027                               v3 = fcvt_to_uint_sat.i64 v1
;; @0029                               return v3
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   cvt_float32_to_uint64_sat_seq %xmm0, %rax, %rsi, %xmm3, %xmm4
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
