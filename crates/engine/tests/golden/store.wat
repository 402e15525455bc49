(module
  (memory 1)
  (func (param i32 f64) (f64.store offset=8 (local.get 0) (local.get 1))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32, f64) tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32, v2: f64):
;;                                     v4 = load.i64 notrap aligned readonly can_move v0+32
;; @0022                               v3 = uextend.i64 v1
;; @0022                               v5 = iadd v4, v3
;; @0022                               store little region0 v2, v5+8
;; @0025                               return
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq %rsi, %r8
;;   movq 0x20(%rdi), %rsi
;;   movq %r8, %rdi
;;   movl %edi, %edi
;;   movsd %xmm0, 8(%rsi, %rdi)
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
