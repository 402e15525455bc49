(module
  (memory 1)
  (func (param i32 v128) (result v128)
    (i8x16.swizzle (f32x4.add (v128.load (local.get 0)) (local.get 1)) (local.get 1))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32, i8x16) -> i8x16 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32, v2: i8x16):
;;                                     v5 = load.i64 notrap aligned readonly can_move v0+32
;; @0021                               v4 = uextend.i64 v1
;; @0021                               v6 = iadd v5, v4
;; @0021                               v7 = load.i8x16 little region0 v6
;; @0027                               v8 = bitcast.f32x4 little v7
;; @0027                               v9 = bitcast.f32x4 little v2
;; @0027                               v10 = fadd v8, v9
;; @002c                               v11 = bitcast.i8x16 little v10
;; @002c                               v12 = swizzle v11, v2
;; @002e                               return v12
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movdqa %xmm0, %xmm1
;;   movq 0x20(%rdi), %r9
;;   movl %esi, %r10d
;;   movdqu (%r9, %r10), %xmm0
;;   addps %xmm1, %xmm0
;;   paddusb (%rip), %xmm1
;;   pshufb %xmm1, %xmm0
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
